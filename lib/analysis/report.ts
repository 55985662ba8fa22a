/**
 * What a search is worth, measured on noise and timesteps that it did not see.
 *
 * The loss alone misleads (a mask can mend the base model in general and change no picture), and a mask of the right size
 * is told from a lucky one only by comparison: so what is found is measured beside the untouched model and a random mask of
 * the same size, and pictures are drawn with the identifier, with the bare category and with another category.
 */
import { setImmediate } from 'node:timers/promises';
import type { NativeMask } from '../../typings/native';
import type { Moments } from '../engine/pictures';
import type { Session } from '../engine/session';
import { alphasCumprod } from '../diffusion/schedule';

/** Mean squared errors of the UNet's prediction (Eq. 2 and 3). */
export interface Losses {
  readonly subject: number;
  readonly prior: number;
}

/** One density of the sweep. */
export interface SweepEntry extends Losses {
  readonly density: number;
  readonly neurons: number;
}

/** Rows for the losses: pictures with noise and timesteps of their own. */
export interface HeldOut {
  readonly moments: Moments;
  /** Text states of each row, [rows, T, D]. */
  readonly embeddings: Float32Array;
  readonly tokens: number;
  readonly timesteps: Float64Array;
  readonly seed: bigint;
}

/** Rows per call: enough to keep the threads busy, few enough for the memory of large models. */
export const REPORT_ROWS = 8;

/**
 * Held-out rows: the pictures take turns, the timesteps are spread evenly over [min, max).
 * @param pictures posterior moments [N, 2C, h, w]
 * @param texts text states [T, D], one per picture
 */
export function heldOutRows(
  pictures: Moments,
  texts: readonly Float32Array[],
  tokens: number,
  rows: number,
  [min, max]: readonly [number, number],
  seed: bigint,
): HeldOut {
  const [count, channels, height, width] = pictures.shape;
  const size = channels * height * width;
  const textSize = texts[0]!.length;
  const data = new Float32Array(rows * size);
  const embeddings = new Float32Array(rows * textSize);
  for (let r = 0; r < rows; r++) {
    const n = r % count;
    data.set(pictures.data.subarray(n * size, (n + 1) * size), r * size);
    embeddings.set(texts[n]!, r * textSize);
  }
  // A permutation of the evenly spread timesteps, so that no picture gets only early or only late ones.
  const stride = coprime(rows);
  const timesteps = Float64Array.from({ length: rows }, (_, r) =>
    Math.floor(min + ((((r * stride) % rows) + 0.5) / rows) * (max - min)),
  );
  return { moments: { data, shape: [rows, channels, height, width] }, embeddings, tokens, timesteps, seed };
}

/** Mean loss of held-out rows with a mask (null: the untouched model). */
export async function meanLoss(session: Session, rows: HeldOut, mask: NativeMask | null, signal: AbortSignal | undefined): Promise<number> {
  const [count, channels, height, width] = rows.moments.shape;
  const size = channels * height * width;
  const textSize = rows.embeddings.length / count;
  const { scheduler, vae } = session.config;
  let sum = 0;
  for (let begin = 0; begin < count; begin += REPORT_ROWS) {
    const end = Math.min(begin + REPORT_ROWS, count);
    const losses = await session.job(signal, (abort) =>
      session.model.loss({
        batch: end - begin,
        height,
        width,
        moments: rows.moments.data.slice(begin * size, end * size),
        latentScale: vae.scalingFactor,
        embeddings: rows.embeddings.slice(begin * textSize, end * textSize),
        tokens: rows.tokens,
        timesteps: rows.timesteps.slice(begin, end),
        alphasCumprod: alphasCumprod(scheduler),
        prediction: scheduler.predictionType,
        // Every chunk has noise of its own, the same for every mask.
        seed: BigInt.asUintN(64, rows.seed + BigInt(begin)),
        ...(mask ? { masks: Array.from({ length: end - begin }, () => mask) } : {}),
        abort,
      }),
    );
    sum += losses.reduce((a, b) => a + b, 0);
  }
  return sum / count;
}

/**
 * Random neurons, as many per weight as `indices` has: what any mask of this size and distribution would do. A full-size
 * model has a million of them: the event loop gets its turn after each weight.
 */
export async function randomLike(indices: readonly Uint32Array[], sizes: readonly number[], random: () => number): Promise<Uint32Array[]> {
  const result: Uint32Array[] = [];
  for (const [t, { length }] of indices.entries()) {
    // Floyd's algorithm: `length` draws, however dense the list is.
    const chosen = new Set<number>();
    for (let last = sizes[t]! - length; last < sizes[t]!; last++) {
      const drawn = Math.floor(random() * (last + 1));
      chosen.add(chosen.has(drawn) ? last : drawn);
    }
    result.push(Uint32Array.from(chosen).sort());
    await setImmediate();
  }
  return result;
}

/** A small generator for choices that need no quality (mulberry32). */
export function smallRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A stride near the golden section of n that visits every residue. */
function coprime(n: number): number {
  const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));
  let stride = Math.max(1, Math.round(n * 0.618));
  while (gcd(stride, n) !== 1) stride++;
  return stride;
}
