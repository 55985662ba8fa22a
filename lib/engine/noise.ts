/** The model's noise schedule, for those who write their own loops. */
import { z } from 'zod';
import type { SamplerName } from '../diffusion/sampler-names';
import { alphasCumprod, samplerSchedule } from '../diffusion/schedule';
import { ConesError } from '../errors';
import { parseOptions, samplerOption } from '../util/options';
import { chooseSolver } from './choose-solver';
import type { Session } from './session';
import { type Latents, latentsOption, requireLength } from './tensors';

/** The options of `generate` that decide about it, with the same defaults. */
export interface ScheduleOptions {
  readonly sampler?: SamplerName | (string & {});
  readonly useKarrasSigmas?: boolean;
  readonly steps?: number;
  readonly eta?: number;
}

export interface Schedule {
  /** What the UNet is given in each step; fractions for 'euler' with linspace spacing. */
  readonly timesteps: readonly number[];
  /** Noise levels √((1 − ᾱ) / ᾱ) before each step, and after the last: one more than steps. */
  readonly sigmas: readonly number[];
  /** Starting latents are noise of this standard deviation (diffusers' `init_noise_sigma`). */
  readonly initialNoiseScale: number;
  /** ᾱ of every training timestep. */
  readonly alphasCumprod: Float64Array;
  /** What the UNet predicts: the noise ε, or v = √ᾱ ε − √(1 − ᾱ) x. */
  readonly predictionType: 'epsilon' | 'v_prediction';
}

const scheduleSchema = z.strictObject({
  sampler: samplerOption.optional(),
  useKarrasSigmas: z.boolean().optional(),
  steps: z.int().min(1).max(1000).default(50),
  eta: z.number().min(0).max(1).optional(),
});

/** @throws ConesError CONES_OPTION_INVALID, CONES_CONFIG_UNSUPPORTED */
export function schedule(session: Session, options: ScheduleOptions = {}): Schedule {
  const parsed = parseOptions('schedule', scheduleSchema, options);
  session.assertUsable();
  const settings = chooseSolver('schedule', parsed, session);
  const { scheduler } = session.config;
  const { initialNoiseScale, sigmas, steps: all } = samplerSchedule(settings.sampler, scheduler, settings);
  return { timesteps: all.map(({ timestep }) => timestep), sigmas, initialNoiseScale, alphasCumprod: alphasCumprod(scheduler), predictionType: scheduler.predictionType };
}

const noiseSchema = z.strictObject({ latents: latentsOption, noise: latentsOption.shape.data, timesteps: z.array(z.int().min(0)).min(1) });

/** Latents on their way to noise, and what the UNet should predict of them (Eq. 1). */
export interface Noised {
  readonly noisy: Latents;
  readonly target: Float32Array;
  /** One per row. */
  readonly timesteps: readonly number[];
}

/**
 * √ᾱ x + √(1 − ᾱ) ε, row by row.
 * @throws ConesError CONES_OPTION_INVALID
 */
export function noised(session: Session, call: string, latents: Latents, noise: Float32Array, timesteps: readonly number[]): Noised {
  const given = parseOptions(call, noiseSchema, { latents, noise, timesteps });
  session.assertUsable();
  const { data, shape } = given.latents;
  const [batch] = shape;
  const each = shape[1] * shape[2] * shape[3];
  requireLength('latents', data, batch * each);
  requireLength('noise', given.noise, data.length);
  const perRow = given.timesteps.length === 1 ? Array.from({ length: batch }, () => given.timesteps[0]!) : given.timesteps;
  requireLength('timesteps', perRow, batch);
  const products = alphasCumprod(session.config.scheduler);
  const late = perRow.find((timestep) => timestep >= products.length);
  if (late !== undefined) throw new ConesError('CONES_OPTION_INVALID', `${call}: timestep ${late} is none of the model's 0 … ${products.length - 1}.`);
  const velocity = session.config.scheduler.predictionType === 'v_prediction';
  const noisy = new Float32Array(data.length);
  const target = velocity ? new Float32Array(data.length) : given.noise.slice();
  perRow.forEach((timestep, row) => {
    const [signal, spread] = [Math.sqrt(products[timestep]!), Math.sqrt(1 - products[timestep]!)];
    for (let i = row * each; i < (row + 1) * each; i++) {
      noisy[i] = signal * data[i]! + spread * given.noise[i]!;
      if (velocity) target[i] = signal * given.noise[i]! - spread * data[i]!;
    }
  });
  return { noisy: { data: noisy, shape }, target, timesteps: perRow };
}
