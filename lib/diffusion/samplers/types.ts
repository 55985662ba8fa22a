/**
 * One step of a sampler, as the native loop runs it. Everything is linear in tensors of one shape:
 *
 *     output = unet(inputScale * x, timestep)
 *     x0     = x0FromX * x + x0FromOutput * output
 *     x      = xFromX * x + xFromX0 * x0 + xFromPreviousX0 * previousX0 + noise * z,   z ~ N(0, 1)
 *     previousX0 = x0
 *
 * `xFromPreviousX0` is 0 in the first step.
 */
export interface SamplerStep {
  /** The timestep given to the UNet; a fraction for Euler with `linspace` spacing. */
  readonly timestep: number;
  readonly inputScale: number;
  readonly x0FromX: number;
  readonly x0FromOutput: number;
  readonly xFromX: number;
  readonly xFromX0: number;
  readonly xFromPreviousX0: number;
  /** Standard deviation of fresh noise; 0 for deterministic samplers. */
  readonly noise: number;
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
  /** Number of UNet evaluations, 1 or more. */
  readonly steps: number;
  /** DDIM only: 0 is deterministic, 1 is as noisy as DDPM. Default 0. */
  readonly eta?: number | undefined;
  /**
   * DPM-Solver and Euler: space noise levels as Karras et al. 2022 (arXiv 2206.00364, Eq. 5, rho 7).
   * Default: what the scheduler config says.
   */
  readonly useKarrasSigmas?: boolean | undefined;
}
