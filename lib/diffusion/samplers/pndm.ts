import type { SchedulerConfig } from '../../models/types';
import { coefficients, combine, LATENTS, type LinearForm, prediction, seenAfter } from './linear-form';
import { alphasCumprod, checkTimesteps, noiseLevel, roundHalfEven, spacedTimesteps } from './noise-levels';
import type { SamplerOptions, SamplerSchedule, SamplerStep } from './types';

/** Adams-Bashforth weights of the latest outputs, the newest first. */
const WEIGHTS = [[1], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]] as const;

/**
 * Pseudo linear multistep, "PLMS": Liu et al. 2022 (arXiv 2202.09778) without Runge-Kutta steps, Stable Diffusion's first sampler.
 * Equal to diffusers' `PNDMScheduler` with `skip_prk_steps: true`. The first step is taken twice, the second time with the mean of
 * both outputs, so there is one UNet evaluation more than `steps`.
 */
export function pndm(config: SchedulerConfig, options: SamplerOptions): SamplerSchedule {
  const products = alphasCumprod(config);
  const spaced = spacedTimesteps(config, config.timestepSpacing ?? 'leading', options.steps, { dropLast: false }).map(roundHalfEven);
  checkTimesteps(spaced, config);
  const all = spaced.length === 1 ? spaced : [spaced[0]!, spaced[1]!, ...spaced.slice(1)];
  // diffusers counts from where it begins, so that whatever is second is taken for the repeated step.
  const timesteps = all.slice(options.start ?? 0);
  const stride = Math.floor(config.numTrainTimesteps / options.steps);
  const final = (config.setAlphaToOne ?? false) ? 1 : products[0]!;

  // The PNDM paper's Eq. 9 and 11: from `sample` at `timestep` to `previous`, with this output.
  const transfer = (sample: LinearForm, output: LinearForm, timestep: number, previous: number): LinearForm => {
    const [product, next] = [products[timestep]!, previous >= 0 ? products[previous]! : final];
    const noise =
      config.predictionType === 'epsilon' ? output : combine([Math.sqrt(product), output], [Math.sqrt(1 - product), sample]);
    const denominator = product * Math.sqrt(1 - next) + Math.sqrt(product * (1 - product) * next);
    return combine([Math.sqrt(next / product), sample], [-(next - product) / denominator, noise]);
  };
  let first = LATENTS;
  const steps = timesteps.map((timestep, i): SamplerStep => {
    let form: LinearForm;
    if (i === 0) {
      form = transfer(LATENTS, prediction(), timestep, timestep - stride);
      first = seenAfter(form, LATENTS);
    } else if (i === 1) {
      form = transfer(first, combine([1 / 2, prediction()], [1 / 2, prediction(1)]), timestep + stride, timestep);
    } else {
      // The output of the repeated step is not among them.
      const ages = [0, 1, 2, 3, 4].filter((age) => age <= i && i - age !== 1).slice(0, 4);
      const weights = WEIGHTS[ages.length - 1]!;
      form = transfer(LATENTS, combine(...ages.map((age, k) => [weights[k]!, prediction(age)] as const)), timestep, timestep - stride);
    }
    // What the output says of the picture at the latents that it led to.
    const after = i === timesteps.length - 1 ? final : products[timesteps[i + 1]!]!;
    const [alpha, sigma] = [Math.sqrt(after), Math.sqrt(1 - after)];
    const cleanAfter = config.predictionType === 'epsilon' ? { x: 1 / alpha, prediction: -sigma / alpha } : { x: alpha, prediction: -sigma };
    return { timestep, inputScale: 1, predictionFromX: 0, predictionFromOutput: 1, ...coefficients(form), cleanAfter };
  });
  return { initialNoiseScale: 1, sigmas: [...timesteps.map((timestep) => products[timestep]!), final].map(noiseLevel), steps };
}
