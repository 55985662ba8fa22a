import type { SchedulerConfig } from '../../models/types';
import { cleanFromUnit } from './clean-picture';
import { coefficients, combine, LATENTS, type LinearForm, prediction, seenAfter } from './linear-form';
import { signalOf, unitLevels } from './noise-levels';
import type { SamplerOptions, SamplerSchedule, SamplerStep } from './types';

/**
 * DPM-Solver++(2S), Lu et al. 2022 (arXiv 2211.01095, Algorithm 1), elsewhere "DPM++ 2S". Equal to diffusers'
 * `DPMSolverSinglestepScheduler` of order 2, midpoint: steps of order 1 and 2 in turn; the second one sets out from where the first
 * one did. The last step is of order 1. Timesteps are evenly spaced whatever the config says, as there.
 */
export function dpmSolverSinglestep(config: SchedulerConfig, options: SamplerOptions): SamplerSchedule {
  const { timesteps, sigmas } = unitLevels(config, options, 'dpm-solver-singlestep', 'linspace');
  const count = timesteps.length;
  const first = options.start ?? 0;
  let start = LATENTS; // of the pair of steps, in the eyes of this one
  const steps = timesteps.map((timestep, i): SamplerStep => {
    const [sigma, next] = [sigmas[i]!, sigmas[i + 1]!];
    const [alpha, alphaNext] = [signalOf(sigma), signalOf(next)];
    let form: LinearForm;
    if ((i + first) % 2 === 0 || i === 0 || i === count - 1) {
      // x' = (sigma_t' / sigma_t) x + alpha' (1 - exp(-h)) x0
      form = combine([(next * alphaNext) / (sigma * alpha), LATENTS], [alphaNext * (1 - next / sigma), prediction()]);
      start = seenAfter(form, LATENTS);
    } else {
      // x' = (sigma_t' / sigma_s) x_s + alpha' (1 - exp(-h)) (m_s + D / 2),  D = (m - m_s) h / (lambda - lambda_s)
      const before = sigmas[i - 1]!;
      const alphaBefore = signalOf(before);
      const scale = alphaNext * (1 - next / before);
      const half = (0.5 * Math.log(before / next)) / Math.log(before / sigma);
      form = combine([(next * alphaNext) / (before * alphaBefore), start], [scale * (1 - half), prediction(1)], [scale * half, prediction()]);
    }
    return { timestep, inputScale: 1, ...cleanFromUnit(config, alpha, sigma * alpha, sigma), ...coefficients(form) };
  });
  return { initialNoiseScale: 1, sigmas, steps };
}
