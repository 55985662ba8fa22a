import type { SchedulerConfig } from '../../models/types';
import { cleanFromUnit } from './clean-picture';
import { unitLevels } from './noise-levels';
import type { SamplerOptions, SamplerSchedule, SamplerStep } from './types';

/**
 * DPM-Solver++(2M), Lu et al. 2022 (arXiv 2211.01095, Algorithm 2), the paper's sampler (App. B).
 * Equal to diffusers' `DPMSolverMultistepScheduler` with its defaults: `dpmsolver++`, order 2,
 * midpoint, final noise level zero. The first step, and the last (there lambda is infinite), are of order 1.
 *
 * With sigma = sigma_t / alpha_t (the noise level), lambda = -log(sigma), so exp(-h) is a ratio of levels.
 */
export function dpmSolverMultistep(config: SchedulerConfig, options: SamplerOptions): SamplerSchedule {
  const { timesteps, sigmas } = unitLevels(config, options, 'dpm-solver-multistep');
  const steps = timesteps.map((timestep, i): SamplerStep => {
    const sigma = sigmas[i]!;
    const next = sigmas[i + 1]!;
    const alpha = 1 / Math.sqrt(sigma * sigma + 1);
    const alphaNext = 1 / Math.sqrt(next * next + 1);
    // x' = (sigma_t' / sigma_t) x + alpha' (1 - exp(-h)) (x0 + D / 2),  D = (x0 - previousX0) h / hPrevious
    const scale = alphaNext * (1 - next / sigma);
    const secondOrder = i > 0 && i < timesteps.length - 1;
    const correction = secondOrder ? (0.5 * Math.log(sigma / next)) / Math.log(sigmas[i - 1]! / sigma) : 0;
    return {
      timestep,
      inputScale: 1,
      ...cleanFromUnit(config, alpha, sigma * alpha, sigma),
      xFromX: (next * alphaNext) / (sigma * alpha),
      xFromPrediction: scale * (1 + correction),
      xFromPrevious: secondOrder ? [-scale * correction] : [],
      noise: 0,
    };
  });
  return { initialNoiseScale: 1, sigmas, steps };
}
