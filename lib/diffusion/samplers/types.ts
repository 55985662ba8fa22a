/** How many earlier predictions a step may look at (`SolverStep::kPrevious`): PNDM's first steps reach so far back. */
export const PREVIOUS = 4;

/**
 * One step of a sampler, as the native loop runs it. Everything is linear in tensors of one shape:
 *
 *     output     = unet(inputScale * x, timestep)
 *     prediction = predictionFromX * x + predictionFromOutput * output
 *     x          = xFromX * x + xFromPrediction * prediction + sum_k xFromPrevious[k] * previous[k] + noise * z,   z ~ N(0, 1)
 *
 * where previous[k] is the prediction of k + 1 steps before: the clean picture x0, or epsilon, whichever the solver thinks in.
 */
export interface SamplerStep {
  /** The timestep given to the UNet; a fraction for some samplers with `linspace` spacing. */
  readonly timestep: number;
  readonly inputScale: number;
  readonly predictionFromX: number;
  readonly predictionFromOutput: number;
  readonly xFromX: number;
  readonly xFromPrediction: number;
  /** At most {@link PREVIOUS}; those left out are 0. */
  readonly xFromPrevious: readonly number[];
  /** Standard deviation of fresh noise; 0 for deterministic samplers. */
  readonly noise: number;
  /** Where predictions are no clean pictures: the x0 that they stand for is x · the new latents + prediction · the prediction. */
  readonly cleanAfter?: { readonly x: number; readonly prediction: number };
}

/** All the steps of one picture. */
export interface SamplerSchedule {
  /** The starting latents are this times standard normal noise (diffusers' `init_noise_sigma`). */
  readonly initialNoiseScale: number;
  /** Noise levels sqrt((1 - a) / a) before each step, and after the last. */
  readonly sigmas: readonly number[];
  readonly steps: readonly SamplerStep[];
}

export interface SamplerOptions {
  /** 1 or more: UNet evaluations, but for heun and kdpm2 (2 · steps − 1) and pndm (steps + 1). */
  readonly steps: number;
  /**
   * How many of the steps are left out: the first ones, because the latents hold a picture already (image to image). From 0 to steps − 1;
   * default 0. Solvers that look back have nothing to look back at then, and begin as they do at the first step.
   */
  readonly start?: number | undefined;
  /** DDIM (default 0) and TCD (default 0.3): 0 is deterministic, 1 is as noisy as DDPM. */
  readonly eta?: number | undefined;
  /**
   * Samplers that think in noise levels: space them as Karras et al. 2022 (arXiv 2206.00364, Eq. 5, rho 7).
   * Default: what the scheduler config says.
   */
  readonly useKarrasSigmas?: boolean | undefined;
}
