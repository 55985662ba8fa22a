import path from 'node:path';
import sharp from 'sharp';
import { Concept, Engine, type FindConceptOptions } from '../../lib';
import type { EngineOptions } from '../../lib';
import { loadModelConfig } from '../../lib/models';
import { native } from '../../lib/native';
import type { NativeModel } from '../../typings/native';

/** A tiny whole model with random weights: 64×64 pictures, 8×8 latents, a tokenizer of single letters. */
export const MODEL = path.join(__dirname, '../goldens/models/pipeline');

export const load = (options: EngineOptions = {}): Promise<Engine> => Engine.load(MODEL, { threads: 1, ...options });

/** The same model as the addon has it. */
export async function loadNative(folder = MODEL): Promise<NativeModel> {
  const { unet, text, vae } = await loadModelConfig(folder);
  return native().loadModel({ unet, text, vae, threads: 1, memoryLimit: 2 ** 30 });
}

/** A picture file: one colour with a square of another. */
export async function picture(seed: number, side = 64): Promise<Buffer> {
  const inner = await sharp({ create: { width: side / 2, height: side / 2, channels: 3, background: { r: (seed * 71) % 256, g: 40, b: 200 } } }).png().toBuffer();
  return sharp({ create: { width: side, height: side, channels: 3, background: { r: 30, g: (seed * 53) % 256, b: 90 } } })
    .composite([{ input: inner }])
    .png()
    .toBuffer();
}

export const pictures = (count: number): Promise<Buffer[]> => Promise.all(Array.from({ length: count }, (_, i) => picture(i)));

/** Quick options of a search: few steps, one prior picture's drawing, no pictures in the report. */
export async function searchOptions(changes: Partial<FindConceptOptions> = {}): Promise<FindConceptOptions> {
  return {
    images: await pictures(3),
    category: 'cat',
    token: 'q',
    steps: 3,
    batchSize: 2,
    priorCount: 2,
    cacheDir: null,
    report: { rows: 4, pictures: 0, densities: [0.05, 0.2] },
    ...changes,
  };
}

/** A concept of this model with every `stride`-th weight shut, from `offset`. */
export function conceptOf(engine: Engine, offset: number, stride = 7, identifier = 'V1*', token = 'q'): Concept {
  const tensors = engine.kvTensors.map(({ name, shape }) => {
    const indices = Uint32Array.from({ length: Math.floor((shape[0] * shape[1] - offset - 1) / stride) + 1 }, (_, i) => offset + i * stride);
    return [name, { shape, indices }] as const;
  });
  return Concept.create({
    fingerprint: engine.fingerprint,
    subjects: [{ identifier, token, category: 'cat' }],
    method: 'test',
    steps: 0,
    engineVersion: 'test',
    tensors: new Map(tensors),
  });
}

/** What a promise rejects with; fails when it does not. */
export async function rejection(promise: PromiseLike<unknown>): Promise<Error & { code?: string }> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error('The promise was not rejected.');
}
