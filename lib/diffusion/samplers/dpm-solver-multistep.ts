import { ConesError } from '../../errors';
import type { SchedulerConfig } from '../../models/types';
import {
  checkTimesteps,
  interpolate,
  karrasSigmas,
  roundHalfEven,
  sigmaTable,
  spacedTimesteps,
  timestepOfSigma,
} from './noise-levels';
import type { SamplerOptions, SamplerSchedule, SamplerStep } from './types';

/**
 * DPM-Solver++(2M), Lu et al. 2022 (arXiv 2211.01095, Algorithm 2), the paper's sampler (App. B).
 * Equal to diffusers' `DPMSolverMultistepScheduler` with its defaults: `dpmsolver++`, order 2,
 * midpoint, final noise level zero. The first step, and the last (there lambda is infinite), are of order 1.
 *
 * With sigma = sigma_t / alpha_t (the noise level), lambda = -log(sigma), so exp(-h) is a ratio of levels.
 */
export function dpmSolverMultistep(config: SchedulerConfig, options: SamplerOptions): SamplerSchedule {
  const { timesteps, sigmas } = noiseLevels(config, options);
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
      ...(config.predictionType === 'epsilon'
        ? { x0FromX: 1 / alpha, x0FromOutput: -sigma }
        : { x0FromX: alpha, x0FromOutput: -sigma * alpha }),
      xFromX: (next * alphaNext) / (sigma * alpha),
      xFromX0: scale * (1 + correction),
      xFromPreviousX0: secondOrder ? -scale * correction : 0,
      noise: 0,
    };
  });
  return { initialNoiseScale: 1, sigmas, steps };
}

function noiseLevels(config: SchedulerConfig, options: SamplerOptions): { timesteps: number[]; sigmas: number[] } {
  const table = sigmaTable(config);
  const spacing = config.timestepSpacing ?? 'linspace';
  const timesteps = spacedTimesteps(config, spacing, options.steps, { dropLast: true }).map(
    roundHalfEven,
  );
  if (options.useKarrasSigmas ?? config.useKarrasSigmas) {
    if (config.betaSchedule === 'squaredcos_cap_v2') {
      // diffusers cuts these timesteps off instead of rounding them, so that the first hangs on a rounding error.
      throw new ConesError(
        'CONES_OPTION_INVALID',
        'dpm-solver-multistep has no Karras spacing for the beta schedule squaredcos_cap_v2; ' +
          'use the sampler euler, or set "use_karras_sigmas" to false in the scheduler\'s config.',
      );
    }
    const sigmas = karrasSigmas(table[0]!, table[table.length - 1]!, options.steps);
    return { timesteps: sigmas.map((sigma) => roundHalfEven(timestepOfSigma(sigma, table))), sigmas: [...sigmas, 0] };
  }
  checkTimesteps(timesteps, config);
  return { timesteps, sigmas: [...timesteps.map((t) => interpolate(table, t)), 0] };
}
