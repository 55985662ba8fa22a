import type { SchedulerConfig } from '../../models/types';
import { signalOf, unitLevels } from './noise-levels';
import type { SamplerOptions, SamplerSchedule, SamplerStep } from './types';

/** The integral of log(t / c) / log(b / c). */
function integral(t: number, b: number, c: number): number {
  return (t * (Math.log(t) - Math.log(c) - 1)) / (Math.log(b) - Math.log(c));
}

/**
 * DEIS, Zhang & Chen 2022 (arXiv 2204.13902), of the logarithm of the noise level, order 2. Equal to diffusers'
 * `DEISMultistepScheduler`, whose last noise level is the model's first, not zero. What a step keeps is epsilon. The first step is of order
 * 1, and the last of fewer than 15.
 */
export function deisMultistep(config: SchedulerConfig, options: SamplerOptions): SamplerSchedule {
  const { timesteps, sigmas: toZero, least } = unitLevels(config, options, 'deis-multistep');
  const sigmas = [...toZero.slice(0, -1), least];
  const steps = timesteps.map((timestep, i): SamplerStep => {
    const [sigma, next] = [sigmas[i]!, sigmas[i + 1]!];
    const [alpha, alphaNext] = [signalOf(sigma), signalOf(next)];
    const before = i > 0 && !(i === timesteps.length - 1 && options.steps < 15) ? sigmas[i - 1]! : undefined;
    // x' = alpha' (x / alpha + the integral of epsilon, linear in log sigma)
    const [now, last] =
      before === undefined
        ? [next - sigma, 0]
        : [integral(next, sigma, before) - integral(sigma, sigma, before), integral(next, before, sigma) - integral(sigma, before, sigma)];
    const epsilon = config.predictionType === 'epsilon';
    return {
      timestep,
      inputScale: 1,
      predictionFromX: epsilon ? 0 : sigma * alpha,
      predictionFromOutput: epsilon ? 1 : alpha,
      xFromX: alphaNext / alpha,
      xFromPrediction: alphaNext * now,
      xFromPrevious: before === undefined ? [] : [alphaNext * last],
      noise: 0,
      cleanAfter: { x: 1 / alphaNext, prediction: -next },
    };
  });
  return { initialNoiseScale: 1, sigmas, steps };
}
