import type { SchedulerConfig } from '../../models/types';
import { cleanFromNoised } from './clean-picture';
import { coefficients, combine, LATENTS, type LinearForm, prediction, seenAfter } from './linear-form';
import { noisedLevels } from './noise-levels';
import type { SamplerOptions, SamplerSchedule, SamplerStep } from './types';

/** The slope (x - x0) / sigma at this step's latents. */
export function slope(sigma: number): LinearForm {
  return combine([1 / sigma, LATENTS], [-1 / sigma, prediction()]);
}

/**
 * Heun's method, Karras et al. 2022 (arXiv 2206.00364, Algorithm 1): two UNet evaluations a step but for the last. Equal to
 * diffusers' `HeunDiscreteScheduler`.
 */
export function heun(config: SchedulerConfig, options: SamplerOptions): SamplerSchedule {
  const { timesteps, sigmas, initialNoiseScale } = noisedLevels(config, options);
  const steps: SamplerStep[] = [];
  timesteps.forEach((timestep, i) => {
    const [sigma, next] = [sigmas[i]!, sigmas[i + 1]!];
    const trial = combine([1, LATENTS], [next - sigma, slope(sigma)]);
    steps.push({ timestep, ...cleanFromNoised(config, sigma), ...coefficients(trial) });
    if (next === 0) return;
    // The mean of the slopes at both ends, from where the trial began.
    const half = (next - sigma) / 2;
    const [start, before] = [seenAfter(trial, LATENTS), seenAfter(trial, slope(sigma))];
    const form = combine([1, start], [half, before], [half, slope(next)]);
    steps.push({ timestep: timesteps[i + 1]!, ...cleanFromNoised(config, next), ...coefficients(form) });
  });
  return { initialNoiseScale, sigmas: [sigmas[0]!, ...sigmas.slice(1, -1).flatMap((sigma) => [sigma, sigma]), 0], steps };
}
