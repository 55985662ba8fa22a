import type { SchedulerConfig } from '../../models/types';
import { cleanFromNoised } from './clean-picture';
import { noisedLevels } from './noise-levels';
import type { SamplerOptions, SamplerSchedule, SamplerStep } from './types';

/**
 * Euler's method, Karras et al. 2022 (arXiv 2206.00364, Algorithm 2 without churn).
 * Equal to diffusers' `EulerDiscreteScheduler`. Here x = x0 + sigma * epsilon is not scaled to unit
 * variance, so the UNet sees x / sqrt(sigma^2 + 1).
 */
export function euler(config: SchedulerConfig, options: SamplerOptions): SamplerSchedule {
  const { timesteps, sigmas, initialNoiseScale } = noisedLevels(config, options);
  const steps = timesteps.map((timestep, i): SamplerStep => {
    const ratio = sigmas[i + 1]! / sigmas[i]!;
    return {
      timestep,
      ...cleanFromNoised(config, sigmas[i]!),
      // x' = x + (x - x0) / sigma * (sigma' - sigma)
      xFromX: ratio,
      xFromPrediction: 1 - ratio,
      xFromPrevious: [],
      noise: 0,
    };
  });
  return { initialNoiseScale, sigmas, steps };
}
