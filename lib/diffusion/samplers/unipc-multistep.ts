import type { SchedulerConfig } from '../../models/types';
import { cleanFromUnit } from './clean-picture';
import { coefficients, combine, LATENTS, type LinearForm, prediction } from './linear-form';
import { signalOf, unitLevels } from './noise-levels';
import type { SamplerOptions, SamplerSchedule, SamplerStep } from './types';

/**
 * UniPC, Zhao et al. 2023 (arXiv 2302.04867, Algorithms 5 to 8), order 2, B2(h), on x0. Equal to diffusers' `UniPCMultistepScheduler`
 * with its defaults. Every step first corrects the latents that the step before predicted, then predicts the next.
 *
 * Predictor and corrector of a step go from the same latents, times the same factor: correcting is adding the difference of the rest.
 */
export function unipcMultistep(config: SchedulerConfig, options: SamplerOptions): SamplerSchedule {
  const { timesteps, sigmas } = unitLevels(config, options, 'unipc-multistep');
  const count = timesteps.length;
  const alphas = sigmas.map(signalOf);
  const lambdas = sigmas.map((sigma) => -Math.log(sigma));
  const orderOf = (i: number): number => Math.min(2, count - i, i + 1);
  // alpha' (exp(-h) - 1) from step i to the next, and where the step before lies, as a share of h.
  const growth = (i: number): number => alphas[i + 1]! * (sigmas[i + 1]! / sigmas[i]! - 1);
  const ratio = (i: number): number => (lambdas[i - 1]! - lambdas[i]!) / (lambdas[i + 1]! - lambdas[i]!);

  // What step i adds to its latents; `age` 1: in the eyes of the step after.
  const predicted = (i: number, age: number): LinearForm => {
    const difference = orderOf(i) === 2 ? 0.5 / ratio(i) : 0;
    const [now, before] = [prediction(age), prediction(age + 1)];
    return combine([-growth(i), now], ...(difference === 0 ? [] : ([[-growth(i) * difference, before], [growth(i) * difference, now]] as const)));
  };
  // What step i should have added, now that the prediction at its end is known.
  const corrected = (i: number): LinearForm => {
    const [end, now, before] = [prediction(), prediction(1), prediction(2)];
    const h = -(lambdas[i + 1]! - lambdas[i]!);
    const b = Math.expm1(h);
    const [phi1, phi2] = [b / h - 1, (b / h - 1) / h - 1 / 2];
    if (orderOf(i) === 1) return combine([-growth(i), now], [-growth(i) * 0.5, end], [growth(i) * 0.5, now]);
    const r = ratio(i);
    const rho = (phi1 / b - (2 * phi2) / b) / (1 - r);
    const last = phi1 / b - rho;
    return combine([-growth(i) * (1 - rho / r - last), now], [(-growth(i) * rho) / r, before], [-growth(i) * last, end]);
  };
  const steps = timesteps.map((timestep, i): SamplerStep => {
    const alpha = alphas[i]!;
    const sample = i === 0 ? LATENTS : combine([1, LATENTS], [1, corrected(i - 1)], [-1, predicted(i - 1, 1)]);
    const scale = (sigmas[i + 1]! * alphas[i + 1]!) / (sigmas[i]! * alpha);
    return {
      timestep,
      inputScale: 1,
      ...cleanFromUnit(config, alpha, sigmas[i]! * alpha, sigmas[i]),
      ...coefficients(combine([scale, sample], [1, predicted(i, 0)])),
    };
  });
  return { initialNoiseScale: 1, sigmas, steps };
}
