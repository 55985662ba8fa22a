/**
 * Pictures for prior preservation (Eq. 3): the category without the subject, as the base model draws it.
 *
 * Their latents go straight from the sampler into the search, without decoding and encoding again, and are cached.
 */
import { createHash } from 'node:crypto';
import os from 'node:os';
import path from 'node:path';
import { fittingBatch } from '../../engine/batch-size';
import { drawLatents } from '../../engine/generate';
import { isGuided } from '../../engine/guidance';
import type { Moments } from '../../engine/pictures';
import type { Session } from '../../engine/session';
import { usableSampler } from '../../diffusion/schedule';
import { readCached, writeCached } from './prior-cache';

/** How prior pictures are drawn; part of the cache's key. */
const SETTINGS = { sampler: 'dpm-solver-multistep', steps: 25, eta: undefined, useKarrasSigmas: undefined, negativePrompt: '' } as const;
/** Pictures drawn together, where the memory limit allows it; their number changes none of them. */
export const PRIOR_BATCH = 4;

export interface PriorOptions {
  readonly caption: string;
  readonly count: number;
  /** Scale of classifier-free guidance. */
  readonly guidance: number;
  readonly latent: { readonly height: number; readonly width: number };
  /** null: no cache. */
  readonly cacheDir: string | null;
  readonly onPicture: (done: number) => void;
  readonly signal: AbortSignal | undefined;
}

/** null where the user has no home. */
export function defaultCacheDir(): string | null {
  const given = process.env['XDG_CACHE_HOME'];
  if (given !== undefined && path.isAbsolute(given)) return path.join(given, 'cones');
  try {
    return path.join(os.homedir(), '.cache', 'cones');
  } catch {
    return null;
  }
}

/** Posterior moments [count, 2C, h, w] of drawn prior pictures: their latents as the mean, without variance. */
export async function drawPrior(session: Session, options: PriorOptions): Promise<Moments> {
  const { latent, count, cacheDir } = options;
  const channels = session.config.unet.inChannels;
  const length = count * channels * latent.height * latent.width;
  const key = cacheDir === null ? null : await cacheKey(session, options);
  let latents = cacheDir === null || key === null ? undefined : await readCached(cacheDir, key, length);
  if (!latents) {
    latents = await draw(session, options, length);
    if (cacheDir !== null && key !== null) await writeCached(cacheDir, key, latents);
  }
  return asMoments(latents, count, channels, latent, session.config.vae.scalingFactor);
}

async function draw(session: Session, options: PriorOptions, length: number): Promise<Float32Array> {
  const { count, guidance, latent, signal } = options;
  const most = Math.min(PRIOR_BATCH, count);
  const batchSize = await fittingBatch(session, { most, guided: isGuided(guidance), latent, decoded: false }, signal);
  const latents = new Float32Array(length);
  for (let done = 0; done < count; ) {
    const pictures = Math.min(batchSize, count - done);
    latents.set(await drawBatch(session, options, done, pictures, SETTINGS.steps), (done * length) / count);
    done += pictures;
    options.onPicture(done);
  }
  return latents;
}

/** Latents of `pictures` pictures from number `first` on. */
async function drawBatch(session: Session, options: PriorOptions, first: number, pictures: number, steps: number): Promise<Float32Array> {
  const { caption, guidance, latent, signal } = options;
  const jobs = Array.from({ length: pictures }, (_, i) => ({ prompt: caption, negativePrompt: SETTINGS.negativePrompt, concepts: [], seed: BigInt(first + i) }));
  return (await drawLatents(session, { ...SETTINGS, sampler: usableSampler(session.config.scheduler), steps, guidance, signal }, jobs, latent)).latents.data;
}

/**
 * Pictures depend on all weights of text encoder and UNet, gigabytes that need not be read to tell one model from another:
 * a single solver step of the first picture tells them apart, too. (The autoencoder has no part in latents.)
 */
async function cacheKey(session: Session, options: PriorOptions): Promise<string> {
  const { caption, count, guidance, latent } = options;
  const firstStep = await drawBatch(session, options, 0, 1, 1);
  const drawing = JSON.stringify([caption, count, guidance, latent.height, latent.width, { ...SETTINGS, sampler: usableSampler(session.config.scheduler) }]);
  return sha256(Buffer.concat([sha256(drawing), sha256(bytesOf(firstStep))])).toString('hex').slice(0, 32);
}

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

function asMoments(
  latents: Float32Array,
  count: number,
  channels: number,
  { height, width }: { height: number; width: number },
  scalingFactor: number,
): Moments {
  const size = channels * height * width;
  const data = new Float32Array(2 * latents.length);
  for (let n = 0; n < count; n++) {
    for (let i = 0; i < size; i++) data[2 * n * size + i] = latents[n * size + i]! / scalingFactor;
    // The smallest log-variance that the sampler of the posterior accepts: σ = e^-15.
    data.fill(-30, (2 * n + 1) * size, (2 * n + 2) * size);
  }
  return { data, shape: [count, 2 * channels, height, width] };
}

function sha256(data: string | Uint8Array): Buffer {
  return createHash('sha256').update(data).digest();
}
