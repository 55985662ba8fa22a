/**
 * Noise schedules: every coefficient that training and sampling need, so that the native core only
 * combines tensors. Equal to diffusers' schedulers built with `from_config` of the model's config.
 */
import { ConesError } from '../errors';
import type { SchedulerConfig } from '../models/types';
import { SAMPLER_NAMES, type SamplerName } from './sampler-names';
import { lcm, tcd } from './samplers/consistency';
import { ddim } from './samplers/ddim';
import { deisMultistep } from './samplers/deis-multistep';
import { dpmSolverMultistep } from './samplers/dpm-solver-multistep';
import { dpmSolverMultistepSde } from './samplers/dpm-solver-multistep-sde';
import { dpmSolverSinglestep } from './samplers/dpm-solver-singlestep';
import { euler } from './samplers/euler';
import { eulerAncestral } from './samplers/euler-ancestral';
import { heun } from './samplers/heun';
import { kdpm2, kdpm2Ancestral } from './samplers/kdpm2';
import { lms } from './samplers/lms';
import { pndm } from './samplers/pndm';
import { signalOf } from './samplers/noise-levels';
import { unipcMultistep } from './samplers/unipc-multistep';
import { PREVIOUS, type SamplerOptions, type SamplerSchedule, type SamplerStep } from './samplers/types';

export { alphasCumprod } from './samplers/noise-levels';
export { SAMPLER_NAMES, type SamplerName, usableSampler } from './sampler-names';
export type { SamplerOptions, SamplerSchedule, SamplerStep } from './samplers/types';

const SAMPLERS = {
  'dpm-solver-multistep': dpmSolverMultistep,
  ddim,
  euler,
  'euler-ancestral': eulerAncestral,
  heun,
  kdpm2,
  'kdpm2-ancestral': kdpm2Ancestral,
  lms,
  pndm,
  'dpm-solver-multistep-sde': dpmSolverMultistepSde,
  'dpm-solver-singlestep': dpmSolverSinglestep,
  'unipc-multistep': unipcMultistep,
  lcm,
  tcd,
  'deis-multistep': deisMultistep,
} as const satisfies Record<SamplerName, (config: SchedulerConfig, options: SamplerOptions) => SamplerSchedule>;

/** Those whose diffusers class does not know `rescale_betas_zero_snr`, and goes without. */
const NEVER_RESCALED: ReadonlySet<string> = new Set<SamplerName>(['heun', 'kdpm2', 'kdpm2-ancestral', 'lms', 'pndm', 'dpm-solver-singlestep', 'deis-multistep']);


/** Those whose latents are x0 + sigma · epsilon; the others' are scaled to unit variance. */
const UNSCALED: ReadonlySet<SamplerName> = new Set<SamplerName>(['euler', 'euler-ancestral', 'heun', 'kdpm2', 'kdpm2-ancestral', 'lms']);

/** How a picture lies in latents of noise level sigma: image · x0 + noise · epsilon, as diffusers' `add_noise` has it. */
export function noisedPicture(sampler: SamplerName, sigma: number): { readonly image: number; readonly noise: number } {
  if (UNSCALED.has(sampler)) return { image: 1, noise: sigma };
  const image = signalOf(sigma);
  return { image, noise: sigma === Infinity ? 1 : sigma * image };
}

/**
 * The coefficients of every step of a sampler.
 * @throws ConesError CONES_OPTION_INVALID for an unknown sampler, or steps that do not fit the schedule; CONES_CONFIG_UNSUPPORTED where
 *   the sampler cannot do what the model's config asks for
 */
export function samplerSchedule(
  sampler: SamplerName,
  config: SchedulerConfig,
  options: SamplerOptions,
): SamplerSchedule {
  if (!Object.hasOwn(SAMPLERS, sampler)) {
    throw new ConesError(
      'CONES_OPTION_INVALID',
      `Unknown sampler "${sampler}"; choose one of ${SAMPLER_NAMES.join(', ')}.`,
    );
  }
  const { start = 0, steps } = options;
  if (!(Number.isInteger(start) && start >= 0 && (start === 0 || start < steps))) {
    throw new ConesError('CONES_OPTION_INVALID', `start must be a whole number from 0 to ${steps - 1}, so that one of ${steps} steps is left; it is ${start}.`);
  }
  const refused = config.refused[sampler];
  if (refused !== undefined) {
    const others = SAMPLER_NAMES.filter((name) => config.refused[name] === undefined);
    throw new ConesError('CONES_CONFIG_UNSUPPORTED', `${refused}.${others.length > 0 ? ` Choose another sampler: ${others.join(' or ')}.` : ''}`);
  }
  return SAMPLERS[sampler](NEVER_RESCALED.has(sampler) ? { ...config, rescaleBetasZeroSnr: false } : config, options);
}

/** The steps as rows of eleven numbers, in the order of the native contract's `NativeStepField`. */
export function flattenSteps(steps: readonly SamplerStep[]): Float64Array {
  return Float64Array.from(
    steps.flatMap((s) => [
      ...[s.timestep, s.inputScale, s.predictionFromX, s.predictionFromOutput],
      ...[s.xFromX, s.xFromPrediction],
      ...Array.from({ length: PREVIOUS }, (_, k) => s.xFromPrevious[k] ?? 0),
      s.noise,
    ]),
  );
}
