import type { SchedulerConfig } from '../../models/types';
import { cleanFromUnit } from './clean-picture';
import { signalOf, unitLevels } from './noise-levels';
import type { SamplerOptions, SamplerSchedule, SamplerStep } from './types';

/** Half of h / hPrevious: how much of the last change of x0 step i adds. 0: the first step and the last are of order 1. */
export function secondOrderShare(sigmas: readonly number[], i: number): number {
  if (i === 0 || i === sigmas.length - 2) return 0;
  const [previous, sigma, next] = [sigmas[i - 1]!, sigmas[i]!, sigmas[i + 1]!];
  return (0.5 * Math.log(sigma / next)) / Math.log(previous / sigma);
}

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
    const [alpha, alphaNext] = [signalOf(sigma), signalOf(next)];
    // x' = (sigma_t' / sigma_t) x + alpha' (1 - exp(-h)) (x0 + D / 2),  D = (x0 - previousX0) h / hPrevious
    const scale = alphaNext * (1 - next / sigma);
    const correction = secondOrderShare(sigmas, i);
    return {
      timestep,
      inputScale: 1,
      ...cleanFromUnit(config, alpha, sigma * alpha, sigma),
      xFromX: (next * alphaNext) / (sigma * alpha),
      xFromPrediction: scale * (1 + correction),
      xFromPrevious: correction === 0 ? [] : [-scale * correction],
      noise: 0,
    };
  });
  return { initialNoiseScale: 1, sigmas, steps };
}
