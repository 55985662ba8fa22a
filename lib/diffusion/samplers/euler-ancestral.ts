import type { SchedulerConfig } from '../../models/types';
import { cleanFromNoised } from './clean-picture';
import { noisedLevels } from './noise-levels';
import type { SamplerOptions, SamplerSchedule, SamplerStep } from './types';

/** How far down a step goes before fresh noise takes it up again to the next level (k-diffusion's `get_ancestral_step`, eta 1). */
export function ancestralLevels(sigma: number, next: number): { down: number; up: number } {
  const up = Math.sqrt((next * next * (sigma * sigma - next * next)) / (sigma * sigma));
  return { down: Math.sqrt(Math.max(next * next - up * up, 0)), up };
}

/**
 * Euler's method with ancestral noise, "Euler a". Equal to diffusers' `EulerAncestralDiscreteScheduler`, which knows no Karras spacing.
 */
export function eulerAncestral(config: SchedulerConfig, options: SamplerOptions): SamplerSchedule {
  const { timesteps, sigmas, initialNoiseScale } = noisedLevels(config, { ...options, useKarrasSigmas: false });
  const steps = timesteps.map((timestep, i): SamplerStep => {
    const { down, up } = ancestralLevels(sigmas[i]!, sigmas[i + 1]!);
    const ratio = down / sigmas[i]!;
    return { timestep, ...cleanFromNoised(config, sigmas[i]!), xFromX: ratio, xFromPrediction: 1 - ratio, xFromPrevious: [], noise: up };
  });
  return { initialNoiseScale, sigmas, steps };
}
