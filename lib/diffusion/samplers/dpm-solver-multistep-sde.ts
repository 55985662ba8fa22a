import type { SchedulerConfig } from '../../models/types';
import { cleanFromUnit } from './clean-picture';
import { secondOrderShare } from './dpm-solver-multistep';
import { signalOf, unitLevels } from './noise-levels';
import type { SamplerOptions, SamplerSchedule, SamplerStep } from './types';

/**
 * SDE-DPM-Solver++(2M), Lu et al. 2022 (arXiv 2211.01095, App. B.3), elsewhere "DPM++ 2M SDE". Equal to diffusers'
 * `DPMSolverMultistepScheduler` with `algorithm_type: "sde-dpmsolver++"`, order 2, midpoint. Every step but the last adds noise.
 */
export function dpmSolverMultistepSde(config: SchedulerConfig, options: SamplerOptions): SamplerSchedule {
  const { timesteps, sigmas } = unitLevels(config, options, 'dpm-solver-multistep-sde');
  const steps = timesteps.map((timestep, i): SamplerStep => {
    const [sigma, next] = [sigmas[i]!, sigmas[i + 1]!];
    const [alpha, alphaNext] = [signalOf(sigma), signalOf(next)];
    const decay = next / sigma; // exp(-h)
    // x' = (sigma_t' / sigma_t) exp(-h) x + alpha' (1 - exp(-2h)) (x0 + D / 2) + sigma_t' sqrt(1 - exp(-2h)) z
    const scale = alphaNext * (1 - decay * decay);
    const correction = secondOrderShare(sigmas, i);
    return {
      timestep,
      inputScale: 1,
      ...cleanFromUnit(config, alpha, sigma * alpha, sigma),
      xFromX: ((next * alphaNext) / (sigma * alpha)) * decay,
      xFromPrediction: scale * (1 + correction),
      xFromPrevious: correction === 0 ? [] : [-scale * correction],
      noise: next * alphaNext * Math.sqrt(1 - decay * decay),
    };
  });
  return { initialNoiseScale: 1, sigmas, steps };
}
