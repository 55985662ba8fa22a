import type { SchedulerConfig } from '../../models/types';
import { cleanFromNoised } from './clean-picture';
import { ancestralLevels } from './euler-ancestral';
import { slope } from './heun';
import { coefficients, combine, LATENTS, seenAfter } from './linear-form';
import { noisedLevels, roundHalfEven, sigmaTable, timestepOfSigma } from './noise-levels';
import type { SamplerOptions, SamplerSchedule, SamplerStep } from './types';

/**
 * DPM-Solver-2 as k-diffusion has it ("DPM2"): the slope halfway, in the logarithm of the noise level, takes the whole step; two UNet
 * evaluations a step but for the last. Equal to diffusers' `KDPM2DiscreteScheduler`.
 */
export function kdpm2(config: SchedulerConfig, options: SamplerOptions): SamplerSchedule {
  return midpoints(config, options, (_, next) => ({ down: next, up: 0 }));
}

/** The same with ancestral noise ("DPM2 a"). Equal to diffusers' `KDPM2AncestralDiscreteScheduler`. */
export function kdpm2Ancestral(config: SchedulerConfig, options: SamplerOptions): SamplerSchedule {
  return midpoints(config, options, ancestralLevels);
}

function midpoints(config: SchedulerConfig, options: SamplerOptions, levels: typeof ancestralLevels): SamplerSchedule {
  const { timesteps, sigmas, initialNoiseScale } = noisedLevels(config, options);
  const table = sigmaTable(config);
  const karras = options.useKarrasSigmas ?? config.useKarrasSigmas;
  const steps: SamplerStep[] = [];
  const seen: number[] = []; // the level of each evaluation
  timesteps.forEach((exact, i) => {
    const [sigma, next] = [sigmas[i]!, sigmas[i + 1]!];
    const { down, up } = levels(sigma, next);
    const middle = Math.sqrt(sigma * down);
    const half = combine([1, LATENTS], [middle - sigma, slope(sigma)]);
    const timestep = karras ? roundHalfEven(exact) : exact;
    seen.push(sigma);
    steps.push({ timestep, ...cleanFromNoised(config, sigma), ...coefficients(half) });
    if (next === 0) return;
    seen.push(middle);
    const form = combine([1, seenAfter(half, LATENTS)], [down - sigma, slope(middle)], [up, { x: 0, predictions: [], noise: 1 }]);
    steps.push({ timestep: Math.fround(timestepOfSigma(middle, table)), ...cleanFromNoised(config, middle), ...coefficients(form) });
  });
  return { initialNoiseScale, sigmas: [...seen, 0], steps };
}
