/** Samplers of models that were distilled to draw in a few steps. */
import { ConesError } from '../../errors';
import type { SchedulerConfig } from '../../models/types';
import { cleanFromUnit } from './clean-picture';
import { DEFAULT_ETA } from '../sampler-names';
import { alphasCumprod, checkTimesteps, linspace, noiseLevel } from './noise-levels';
import type { SamplerOptions, SamplerSchedule, SamplerStep } from './types';

/** Evenly spread over the timesteps that the distillation saw, the last one first. */
function distilledTimesteps(config: SchedulerConfig, { steps, start = 0 }: SamplerOptions, sampler: string): number[] {
  const seen = config.originalInferenceSteps;
  if (!Number.isInteger(steps) || steps < 1 || steps > Math.min(seen, config.numTrainTimesteps)) {
    throw new ConesError('CONES_OPTION_INVALID', `${sampler}: steps must be a whole number from 1 to ${Math.min(seen, config.numTrainTimesteps)} for this model (its original_inference_steps); it is ${steps}.`);
  }
  const stride = Math.floor(config.numTrainTimesteps / seen);
  const timesteps = linspace(0, seen, steps + 1).slice(0, steps).map((index) => (seen - Math.floor(index)) * stride - 1);
  checkTimesteps(timesteps, config);
  return timesteps.slice(start);
}

/**
 * Latent consistency models, Luo et al. 2023 (arXiv 2310.04378, Algorithm 3): predicts the picture, and noises it again for the next
 * step. Equal to diffusers' `LCMScheduler`.
 */
export function lcm(config: SchedulerConfig, options: SamplerOptions): SamplerSchedule {
  const products = alphasCumprod(config);
  const timesteps = distilledTimesteps(config, options, 'lcm');
  const steps = timesteps.map((timestep, i): SamplerStep => {
    const product = products[timestep]!;
    const last = i === timesteps.length - 1;
    const next = last ? 1 : products[timesteps[i + 1]!]!;
    // The boundary condition: at timestep 0 the picture is the latents.
    const scaled = timestep * config.timestepScaling;
    const [keep, take] = [0.25 / (scaled * scaled + 0.25), scaled / Math.sqrt(scaled * scaled + 0.25)];
    return {
      timestep,
      inputScale: 1,
      ...cleanFromUnit(config, Math.sqrt(product), Math.sqrt(1 - product)),
      xFromX: Math.sqrt(next) * keep,
      xFromPrediction: Math.sqrt(next) * take,
      xFromPrevious: [],
      noise: Math.sqrt(1 - next),
    };
  });
  return { initialNoiseScale: 1, sigmas: [...timesteps.map((timestep) => noiseLevel(products[timestep]!)), 0], steps };
}

/**
 * Trajectory consistency distillation, Zheng et al. 2024 (arXiv 2402.19159, Algorithm 4; eta is its gamma). Equal to diffusers'
 * `TCDScheduler`.
 */
export function tcd(config: SchedulerConfig, options: SamplerOptions): SamplerSchedule {
  const eta = options.eta ?? DEFAULT_ETA.tcd!;
  if (!(eta >= 0 && eta <= 1)) throw new ConesError('CONES_OPTION_INVALID', `eta must be between 0 and 1; it is ${eta}.`);
  const products = alphasCumprod(config);
  const timesteps = distilledTimesteps(config, options, 'tcd');
  const steps = timesteps.map((timestep, i): SamplerStep => {
    const last = i === timesteps.length - 1;
    const previous = last ? 0 : timesteps[i + 1]!;
    const [product, next, target] = [products[timestep]!, products[previous]!, products[Math.floor((1 - eta) * previous)]!];
    const [alpha, sigma] = [Math.sqrt(product), Math.sqrt(1 - product)];
    // x_s = sqrt(a_s) x0 + sqrt(1 - a_s) epsilon,  epsilon = (x - alpha x0) / sigma; then up again to the next timestep's noise.
    const scale = eta > 0 && !last ? Math.sqrt(next / target) : 1;
    const direction = Math.sqrt(1 - target) / sigma;
    return {
      timestep,
      inputScale: 1,
      ...cleanFromUnit(config, alpha, sigma),
      xFromX: scale * direction,
      xFromPrediction: scale * (Math.sqrt(target) - direction * alpha),
      xFromPrevious: [],
      noise: eta > 0 && !last ? Math.sqrt(Math.max(1 - next / target, 0)) : 0,
    };
  });
  return { initialNoiseScale: 1, sigmas: [...timesteps, 0].map((timestep) => noiseLevel(products[timestep]!)), steps };
}
