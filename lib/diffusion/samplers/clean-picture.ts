/** The coefficients with which a model's output becomes the clean picture x0 that it stands for. */
import type { SchedulerConfig } from '../../models/types';
import { signalOf } from './noise-levels';
import type { SamplerStep } from './types';

type Prediction = Pick<SamplerStep, 'predictionFromX' | 'predictionFromOutput'>;

/** For latents of unit variance, x = alpha · x0 + sigma · epsilon; `ratio` is sigma / alpha. */
export function cleanFromUnit({ predictionType }: SchedulerConfig, alpha: number, sigma: number, ratio = sigma / alpha): Prediction {
  return predictionType === 'epsilon'
    ? { predictionFromX: 1 / alpha, predictionFromOutput: -ratio }
    : { predictionFromX: alpha, predictionFromOutput: -sigma };
}

/** For latents x = x0 + sigma · epsilon, which the UNet sees divided by sqrt(sigma^2 + 1). */
export function cleanFromNoised({ predictionType }: SchedulerConfig, sigma: number): Prediction & Pick<SamplerStep, 'inputScale'> {
  const inputScale = signalOf(sigma);
  return predictionType === 'epsilon'
    ? { inputScale, predictionFromX: 1, predictionFromOutput: -sigma }
    : { inputScale, predictionFromX: inputScale * inputScale, predictionFromOutput: -sigma * inputScale };
}
