// The solver loop in plain numbers, on a toy in the UNet's place and noise that follows a rule: as scripts/golden_schedule.py and
// golden_start.py have them.
import type { SamplerStep } from '../lib/diffusion/schedule';

const toyUnet = (x: number, t: number): number => 0.6 * x + 0.3 - 0.5 * (t / 1000) ** 2;
const toyNoise = (step: number): number[] => [(((step * 7) % 5) - 2) / 2, (((step * 3) % 7) - 3) / 3];

/** x after step `i`; `previous`: the predictions before it, the latest first, to which its own is added. */
export function toyStep(step: SamplerStep, i: number, x: readonly number[], previous: number[][]): number[] {
  const z = toyNoise(i);
  const output = x.map((value) => toyUnet(step.inputScale * value, step.timestep));
  const prediction = x.map((value, j) => step.predictionFromX * value + step.predictionFromOutput * output[j]!);
  const next = x.map(
    (value, j) =>
      step.xFromX * value +
      step.xFromPrediction * prediction[j]! +
      step.xFromPrevious.reduce((sum, factor, k) => sum + (factor === 0 ? 0 : factor * previous[k]![j]!), 0) +
      step.noise * z[j]!,
  );
  previous.unshift(prediction);
  return next;
}
