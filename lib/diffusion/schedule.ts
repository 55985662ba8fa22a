/**
 * Noise schedules: every coefficient that training and sampling need, so that the native core only
 * combines tensors. Equal to diffusers' schedulers built with `from_config` of the model's config.
 */
import { ConesError } from '../errors';
import type { SchedulerConfig } from '../models/types';
import { ddim } from './samplers/ddim';
import { dpmSolverMultistep } from './samplers/dpm-solver-multistep';
import { euler } from './samplers/euler';
import type { SamplerOptions, SamplerSchedule, SamplerStep } from './samplers/types';

export { alphasCumprod } from './samplers/noise-levels';
export type { SamplerOptions, SamplerSchedule, SamplerStep } from './samplers/types';

const SAMPLERS = {
  'dpm-solver-multistep': dpmSolverMultistep,
  ddim,
  euler,
} as const;

export type SamplerName = keyof typeof SAMPLERS;
export const SAMPLER_NAMES = Object.keys(SAMPLERS) as readonly SamplerName[];

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
  const refused = config.refused[sampler];
  if (refused !== undefined) {
    const others = SAMPLER_NAMES.filter((name) => config.refused[name] === undefined);
    throw new ConesError('CONES_CONFIG_UNSUPPORTED', `${refused}.${others.length > 0 ? ` Choose another sampler: ${others.join(' or ')}.` : ''}`);
  }
  return SAMPLERS[sampler](config, options);
}

/** For pictures whose sampler nobody chose: the first that can do what the model's config asks for. */
export function usableSampler({ refused }: SchedulerConfig): SamplerName {
  return SAMPLER_NAMES.find((name) => refused[name] === undefined) ?? SAMPLER_NAMES[0]!;
}

/** The steps as rows of eight numbers, in the order of the native contract's `NativeStepField`. */
export function flattenSteps(steps: readonly SamplerStep[]): Float64Array {
  return Float64Array.from(
    steps.flatMap((s) => [
      ...[s.timestep, s.inputScale, s.x0FromX, s.x0FromOutput],
      ...[s.xFromX, s.xFromX0, s.xFromPreviousX0, s.noise],
    ]),
  );
}
