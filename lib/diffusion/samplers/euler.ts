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
 * Euler's method, Karras et al. 2022 (arXiv 2206.00364, Algorithm 2 without churn).
 * Equal to diffusers' `EulerDiscreteScheduler`. Here x = x0 + sigma * epsilon is not scaled to unit
 * variance, so the UNet sees x / sqrt(sigma^2 + 1).
 */
export function euler(config: SchedulerConfig, options: SamplerOptions): SamplerSchedule {
  const spacing = config.timestepSpacing ?? 'linspace';
  const { timesteps, sigmas } = noiseLevels(config, spacing, options);
  const steps = timesteps.map((timestep, i): SamplerStep => {
    const sigma = sigmas[i]!;
    const ratio = sigmas[i + 1]! / sigma;
    const inputScale = 1 / Math.sqrt(sigma * sigma + 1);
    return {
      timestep,
      inputScale,
      ...(config.predictionType === 'epsilon'
        ? { x0FromX: 1, x0FromOutput: -sigma }
        : { x0FromX: inputScale * inputScale, x0FromOutput: -sigma * inputScale }),
      // x' = x + (x - x0) / sigma * (sigma' - sigma)
      xFromX: ratio,
      xFromX0: 1 - ratio,
      xFromPreviousX0: 0,
      noise: 0,
    };
  });
  const sigmaMax = sigmas[0]!;
  const initialNoiseScale = spacing === 'leading' ? Math.sqrt(sigmaMax * sigmaMax + 1) : sigmaMax;
  return { initialNoiseScale, sigmas, steps };
}

function noiseLevels(
  config: SchedulerConfig,
  spacing: NonNullable<SchedulerConfig['timestepSpacing']>,
  options: SamplerOptions,
): { timesteps: number[]; sigmas: number[] } {
  const table = sigmaTable(config);
  const exact = spacedTimesteps(config, spacing, options.steps, { dropLast: false });
  const timesteps = spacing === 'linspace' ? exact.map(Math.fround) : exact.map(roundHalfEven);
  checkTimesteps(timesteps, config);
  const sigmas = timesteps.map((t) => interpolate(table, t));
  if (options.useKarrasSigmas ?? config.useKarrasSigmas) {
    const karras = karrasSigmas(sigmas[sigmas.length - 1]!, sigmas[0]!, options.steps);
    return { timesteps: karras.map((sigma) => Math.fround(timestepOfSigma(sigma, table))), sigmas: [...karras, 0] };
  }
  return { timesteps, sigmas: [...sigmas, 0] };
}
