// Our side of every row: the same work on the same shapes as bench/python/rows.py.
import { createRequire } from 'node:module';
import os from 'node:os';

const require = createRequire(import.meta.url);
const { fromNative, native } = require('../../dist/native.js');
const { loadModelConfig } = require('../../dist/models');
const { alphasCumprod, flattenSteps, samplerSchedule } = require('../../dist/diffusion/schedule.js');

const TOKENS = 77;
const PICTURE_STEPS = 20;
const GUIDANCE = 7.5;

/** A model on our side, with the inputs that rows share. */
class Side {
  constructor(model, config, size) {
    this.model = model;
    this.config = config;
    this.size = size;
  }

  normal(...shape) {
    return native().randomNormal(1n, 0, shape.reduce((a, b) => a * b));
  }

  latents(batch) {
    return this.normal(batch, this.config.unet.inChannels, this.size, this.size);
  }

  states(batch) {
    return this.normal(batch, TOKENS, this.config.unet.crossAttentionDim);
  }

  /** A batch for the UNet at spread-out timesteps. */
  unetInput(batch) {
    return {
      batch, height: this.size, width: this.size, latents: this.latents(batch), embeddings: this.states(batch), tokens: TOKENS,
      timesteps: Float64Array.from({ length: batch }, (_, i) => (617 * (i + 1)) % 1000),
    };
  }
}

/** Row → (side, batch) → a function that does the work once, or a promise of it. */
export const ROWS = {
  unet_forward(side, batch) {
    const input = side.unetInput(batch);
    return () => side.model.denoise(input);
  },

  unet_gradient(side, batch) {
    const input = {
      ...side.unetInput(batch),
      target: side.latents(batch),
      weights: new Float64Array(batch).fill(1 / batch),
      tensors: side.model.kvTensors.map(({ name }) => name),
    };
    return () => side.model.gradient(input);
  },

  /** Algorithm A2 with Adam on ξ and the score S; `batch` subject and `batch` prior rows, a caption for either. */
  async search_step(side, batch) {
    const { scheduler, unet } = side.config;
    const captions = Int32Array.from({ length: 2 * batch }, (_, i) => (i < batch ? 0 : 1));
    const captionOffsets = Int32Array.from({ length: 2 * batch + 1 }, (_, i) => i);
    const search = await side.model.createSearch({
      batch: 2 * batch, height: side.size, width: side.size,
      moments: side.normal(2 * batch, 2 * unet.inChannels, side.size, side.size),
      subjects: batch, subjectBatch: batch, priorBatch: batch, priorWeight: 1,
      embeddings: side.states(2), tokens: TOKENS, captions, captionOffsets,
      latentScale: side.config.vae.scalingFactor, alphasCumprod: alphasCumprod(scheduler), prediction: scheduler.predictionType,
      minTimestep: 0, maxTimestep: 1000,
      algorithm: 'a2', optimizer: 'adam', learningRate: 6e-5, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, clamp: true, shut: 0, ramp: 0,
      tensors: Int32Array.from(side.model.kvTensors.keys()), seed: 1n, checkpointing: false,
    });
    return () => search.run({ steps: 1 });
  },

  /** DPM-Solver++ 2M with guidance from text states to latents, and VAE decode. */
  picture(side, batch) {
    const { scheduler, vae } = side.config;
    const schedule = samplerSchedule('dpm-solver-multistep', scheduler, { steps: PICTURE_STEPS });
    const options = {
      ...side.unetInput(batch), // its timesteps are not read
      negativeEmbeddings: side.states(batch), guidance: GUIDANCE, steps: flattenSteps(schedule.steps),
      seeds: BigUint64Array.from({ length: batch }, (_, i) => BigInt(i)),
    };
    return async () => {
      const latents = await side.model.sample(options);
      return side.model.decode(latents.map((value) => value / vae.scalingFactor), batch, side.size, side.size, {});
    };
  },

  vae_decode(side, batch) {
    const latents = side.normal(batch, side.config.vae.latentChannels, side.size, side.size);
    return () => side.model.decode(latents, batch, side.size, side.size, {});
  },

  vae_encode(side, batch) {
    const pixels = side.size * side.config.vae.downscale;
    const pictures = side.normal(batch, pixels, pixels, 3);
    return () => side.model.encodeImages(pictures, batch, pixels, pixels, {});
  },

  text_encode(side, batch) {
    const ids = Int32Array.from({ length: batch * TOKENS }, (_, i) => (7 * i) % side.config.text.vocabSize);
    return () => side.model.encodeText(ids, batch, {});
  },
};

/**
 * Loads a model for measurements. `size`: side of the latents, default the model's own.
 * `measure(iterations)` of a prepared row resolves to milliseconds per call of wall-clock and of processor time (all threads).
 */
export async function loadEngine(folder, threads, size) {
  const config = await loadModelConfig(folder);
  const { unet, text, vae } = config;
  const model = await fromNative(() => native().loadModel({ unet, text, vae, threads, memoryLimit: os.totalmem() }));
  const side = new Side(model, config, size ?? unet.sampleSize[0]);
  return {
    size: side.size,
    instructionSet: model.isa,
    async prepare(row, batch) {
      const work = await ROWS[row](side, batch);
      await work();
      return (iterations) => measure(work, iterations);
    },
    dispose: () => model.dispose(),
  };
}

async function measure(work, iterations) {
  const samples = [];
  const before = process.cpuUsage();
  for (let i = 0; i < iterations; i++) {
    const start = performance.now();
    await work();
    samples.push(performance.now() - start);
  }
  const { user, system } = process.cpuUsage(before);
  return { ms: median(samples), cpuMs: (user + system) / 1000 / iterations };
}

export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
