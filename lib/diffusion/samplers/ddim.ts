import { ConesError } from '../../errors';
import type { SchedulerConfig } from '../../models/types';
import { cleanFromUnit } from './clean-picture';
import { DEFAULT_ETA } from '../sampler-names';
import { alphasCumprod, checkTimesteps, noiseLevel, roundHalfEven, spacedTimesteps } from './noise-levels';
import type { SamplerOptions, SamplerSchedule, SamplerStep } from './types';

/**
 * DDIM, Song et al. 2020 (arXiv 2010.02502, Eq. 12 and 16). Equal to diffusers' `DDIMScheduler`
 * without clipping (`clip_sample: false`, as every latent diffusion model has it).
 */
export function ddim(config: SchedulerConfig, options: SamplerOptions): SamplerSchedule {
  const eta = options.eta ?? DEFAULT_ETA.ddim!;
  if (!(eta >= 0 && eta <= 1)) {
    throw new ConesError('CONES_OPTION_INVALID', `eta must be between 0 and 1; it is ${eta}.`);
  }
  const products = alphasCumprod(config);
  const spacing = config.timestepSpacing ?? 'leading';
  const all = spacedTimesteps(config, spacing, options.steps, { dropLast: false }).map(roundHalfEven);
  checkTimesteps(all, config);
  const timesteps = all.slice(options.start ?? 0);
  if (config.predictionType === 'epsilon' && products[timesteps[0]!] === 0) {
    throw new ConesError(
      'CONES_CONFIG_INVALID',
      'The scheduler config has rescale_betas_zero_snr with prediction_type "epsilon": noise alone says nothing ' +
        'about the picture at the first timestep. Use another sampler, or a model with "v_prediction".',
    );
  }
  // diffusers steps back by this stride whatever the spacing.
  const stride = Math.floor(config.numTrainTimesteps / options.steps);
  const finalProduct = (config.setAlphaToOne ?? true) ? 1 : products[0]!;
  const previousOf = (timestep: number) => (timestep >= stride ? products[timestep - stride]! : finalProduct);
  const steps = timesteps.map((timestep): SamplerStep => {
    const product = products[timestep]!;
    const previous = previousOf(timestep);
    const alpha = Math.sqrt(product);
    const sigma = Math.sqrt(1 - product);
    const variance = ((1 - previous) / (1 - product)) * (1 - product / previous);
    const noise = eta * Math.sqrt(variance);
    // x' = sqrt(previous) x0 + direction * epsilon,  epsilon = (x - alpha x0) / sigma
    const direction = Math.sqrt(Math.max(1 - previous - noise * noise, 0));
    return {
      timestep,
      inputScale: 1,
      ...cleanFromUnit(config, alpha, sigma),
      xFromX: direction / sigma,
      xFromPrediction: Math.sqrt(previous) - (direction * alpha) / sigma,
      xFromPrevious: [],
      noise,
    };
  });
  const sigmas = [...timesteps.map((timestep) => products[timestep]!), previousOf(timesteps[timesteps.length - 1]!)].map(noiseLevel);
  return { initialNoiseScale: 1, sigmas, steps };
}
