import type { SchedulerConfig } from '../../models/types';
import { cleanFromNoised } from './clean-picture';
import { noisedLevels } from './noise-levels';
import type { SamplerOptions, SamplerSchedule, SamplerStep } from './types';

const ORDER = 4;

/**
 * Linear multistep (Adams-Bashforth on the noise levels), as k-diffusion has it. Equal to diffusers' `LMSDiscreteScheduler`, order 4.
 * What a step keeps is its slope (x - x0) / sigma.
 */
export function lms(config: SchedulerConfig, options: SamplerOptions): SamplerSchedule {
  const { timesteps, sigmas, initialNoiseScale } = noisedLevels(config, options);
  const steps = timesteps.map((timestep, i): SamplerStep => {
    const sigma = sigmas[i]!;
    const { inputScale, predictionFromX, predictionFromOutput } = cleanFromNoised(config, sigma);
    const known = sigmas.slice(Math.max(i + 1 - ORDER, 0), i + 1).reverse(); // this step's first
    const [now, ...before] = known.map((_, k) => integral(known, k, sigma, sigmas[i + 1]!));
    return {
      timestep,
      inputScale,
      predictionFromX: (1 - predictionFromX) / sigma,
      predictionFromOutput: -predictionFromOutput / sigma,
      xFromX: 1,
      xFromPrediction: now!,
      xFromPrevious: before,
      noise: 0,
      cleanAfter: { x: 1, prediction: -sigmas[i + 1]! },
    };
  });
  return { initialNoiseScale, sigmas, steps };
}

/** The integral from `from` to `to` of the polynomial that is 1 at nodes[k] and 0 at the others. Two Gauss points are exact up to degree 3. */
function integral(nodes: readonly number[], k: number, from: number, to: number): number {
  const at = (x: number): number => nodes.reduce((product, node, j) => (j === k ? product : (product * (x - node)) / (nodes[k]! - node)), 1);
  const [middle, half] = [(from + to) / 2, (to - from) / 2];
  return half * (at(middle - half / Math.sqrt(3)) + at(middle + half / Math.sqrt(3)));
}
