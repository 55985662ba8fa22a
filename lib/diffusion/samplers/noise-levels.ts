import { ConesError } from '../../errors';
import type { SchedulerConfig, TimestepSpacing } from '../../models/types';
import type { SamplerOptions } from './types';

/**
 * The cumulative products of 1 - beta, [numTrainTimesteps], as diffusers' schedulers compute them.
 *
 * Betas, alphas and products are rounded to fp32 where diffusers rounds them, because the model was
 * trained on that table: near t = 0 the rounding of a product changes 1 - product in its fifth digit.
 */
export function alphasCumprod(config: SchedulerConfig): Float64Array {
  const alphas = computeBetas(config).map((beta) => Math.fround(1 - beta));
  let product = 1;
  const products = Float64Array.from(alphas, (alpha) => Math.fround((product *= alpha)));
  // Solvers divide by both ends: there must be some noise at every timestep, and some picture.
  if (!products.every((value) => value > 0 && value < 1)) {
    throw new ConesError(
      'CONES_CONFIG_INVALID',
      'The betas of the scheduler config are too small or too large: in fp32 they leave no noise at the first ' +
        'timestep, or no picture at the last.',
    );
  }
  return config.rescaleBetasZeroSnr ? rescaleToZeroTerminalSnr(products) : products;
}

function computeBetas(config: SchedulerConfig): number[] {
  const { betaStart, betaEnd, betaSchedule, numTrainTimesteps: count } = config;
  if (config.trainedBetas !== null) return config.trainedBetas.map(Math.fround);
  switch (betaSchedule) {
    case 'linear':
      return fp32Linspace(betaStart, betaEnd, count);
    case 'scaled_linear':
      return fp32Linspace(Math.sqrt(betaStart), Math.sqrt(betaEnd), count).map((root) => Math.fround(root * root));
    case 'squaredcos_cap_v2': {
      // Nichol & Dhariwal 2021 (arXiv 2102.09672), Eq. 17, betas capped at 0.999.
      const alphaBar = (t: number): number => Math.cos((((t + 0.008) / 1.008) * Math.PI) / 2) ** 2;
      return Array.from({ length: count }, (_, i) =>
        Math.fround(Math.min(1 - alphaBar((i + 1) / count) / alphaBar(i / count), 0.999)),
      );
    }
  }
}

/** PyTorch's fp32 `linspace`, which counts from the nearer end. */
function fp32Linspace(from: number, to: number, count: number): number[] {
  const [first, last] = [Math.fround(from), Math.fround(to)];
  const step = Math.fround(Math.fround(last - first) / (count - 1));
  return Array.from({ length: count }, (_, i) =>
    Math.fround(i < Math.floor(count / 2) ? first + step * i : last - step * (count - 1 - i)),
  );
}

/** Lin et al. 2023 (arXiv 2305.08891), Algorithm 1, on products instead of betas. */
function rescaleToZeroTerminalSnr(products: Float64Array): Float64Array {
  const roots = Array.from(products, Math.sqrt);
  const first = roots[0]!;
  const last = roots[roots.length - 1]!;
  return Float64Array.from(roots, (root) => Math.fround((((root - last) * first) / (first - last)) ** 2));
}

/**
 * Noise levels sigma = sqrt((1 - a) / a) of the sigma-parametrised samplers, [numTrainTimesteps],
 * ascending. With zero terminal SNR the last product is replaced by 2^-24, as in diffusers, so that
 * the last level is finite.
 */
export function sigmaTable(config: SchedulerConfig): number[] {
  const products = alphasCumprod(config);
  if (config.rescaleBetasZeroSnr) products[products.length - 1] = 2 ** -24;
  return Array.from(products, noiseLevel);
}

/**
 * Timesteps for `steps` evaluations, descending, before any Karras spacing.
 * @param dropLast Cut the range into `steps + 1` points and leave out the last, as DPM-Solver does.
 */
export function spacedTimesteps(
  config: SchedulerConfig,
  spacing: TimestepSpacing,
  steps: number,
  { dropLast }: { dropLast: boolean },
): number[] {
  const count = config.numTrainTimesteps;
  if (!Number.isInteger(steps) || steps < 1) {
    throw new ConesError('CONES_OPTION_INVALID', `steps must be a whole number of 1 or more; it is ${steps}.`);
  }
  const points = dropLast ? steps + 1 : steps;
  switch (spacing) {
    case 'linspace':
      return linspace(0, count - 1, points).reverse().slice(0, steps);
    case 'leading': {
      const ratio = Math.floor(count / points);
      return Array.from({ length: steps }, (_, i) => (points - 1 - i) * ratio + config.stepsOffset);
    }
    case 'trailing': {
      // As NumPy's `arange` rounds its step, which decides where a timestep lies halfway between two.
      const step = count - count / steps - count;
      return Array.from({ length: steps }, (_, i) => roundHalfEven(count + i * step) - 1);
    }
  }
}

/** Fails unless the timesteps index the table and fall strictly: a solver divides by their distances. */
export function checkTimesteps(timesteps: readonly number[], config: SchedulerConfig): void {
  const sane = timesteps.every(
    (t, i) => t >= 0 && t <= config.numTrainTimesteps - 1 && (i === 0 || t < timesteps[i - 1]!),
  );
  if (!sane) {
    throw new ConesError(
      'CONES_OPTION_INVALID',
      `${timesteps.length} steps do not fit the model's ${config.numTrainTimesteps} training timesteps ` +
        `(steps_offset ${config.stepsOffset}); use fewer steps.`,
    );
  }
}

/** sqrt((1 - a) / a) of a cumulative product. */
export function noiseLevel(product: number): number {
  return Math.sqrt((1 - product) / product);
}

/** The share of the picture in latents of unit variance whose noise level is sigma: sqrt(a). */
export function signalOf(sigma: number): number {
  return 1 / Math.sqrt(sigma * sigma + 1);
}

/** Timesteps, and noise levels with a last one of 0: one more than there are timesteps. */
export interface NoiseLevels {
  readonly timesteps: number[];
  readonly sigmas: number[];
}

/** Without the steps that are left out (`SamplerOptions.start`). */
function later({ timesteps, sigmas }: NoiseLevels, { start = 0 }: SamplerOptions): NoiseLevels {
  return { timesteps: timesteps.slice(start), sigmas: sigmas.slice(start) };
}

/** Of the samplers whose latents are x0 + sigma * epsilon (Euler's, Heun's, LMS), and the standard deviation that they begin with. */
export function noisedLevels(config: SchedulerConfig, options: SamplerOptions): NoiseLevels & { initialNoiseScale: number } {
  const table = sigmaTable(config);
  const spacing = config.timestepSpacing ?? 'linspace';
  const exact = spacedTimesteps(config, spacing, options.steps, { dropLast: false });
  let timesteps = spacing === 'linspace' ? exact.map(Math.fround) : exact.map(roundHalfEven);
  checkTimesteps(timesteps, config);
  let sigmas = timesteps.map((t) => interpolate(table, t));
  if (options.useKarrasSigmas ?? config.useKarrasSigmas) {
    sigmas = karrasSigmas(sigmas[sigmas.length - 1]!, sigmas[0]!, options.steps);
    timesteps = sigmas.map((sigma) => Math.fround(timestepOfSigma(sigma, table)));
  }
  const sigmaMax = sigmas[0]!;
  return { ...later({ timesteps, sigmas: [...sigmas, 0] }, options), initialNoiseScale: spacing === 'leading' ? Math.sqrt(sigmaMax * sigmaMax + 1) : sigmaMax };
}

/** Of the DPM-Solver family and UniPC, whose latents have unit variance; `least` is the model's first level. `sampler` is for the message. */
export function unitLevels(config: SchedulerConfig, options: SamplerOptions, sampler: string, spacing = config.timestepSpacing ?? 'linspace'): NoiseLevels & { least: number } {
  const table = sigmaTable(config);
  const [first] = table;
  const timesteps = spacedTimesteps(config, spacing, options.steps, { dropLast: true }).map(roundHalfEven);
  if (options.useKarrasSigmas ?? config.useKarrasSigmas) {
    if (config.betaSchedule === 'squaredcos_cap_v2') {
      // diffusers cuts these timesteps off instead of rounding them, so that the first hangs on a rounding error.
      throw new ConesError(
        'CONES_OPTION_INVALID',
        `${sampler} has no Karras spacing for the beta schedule squaredcos_cap_v2; ` +
          'use the sampler euler, or set "use_karras_sigmas" to false in the scheduler\'s config.',
      );
    }
    const sigmas = karrasSigmas(table[0]!, table[table.length - 1]!, options.steps);
    return { ...later({ timesteps: sigmas.map((sigma) => roundHalfEven(timestepOfSigma(sigma, table))), sigmas: [...sigmas, 0] }, options), least: first! };
  }
  checkTimesteps(timesteps, config);
  return { ...later({ timesteps, sigmas: [...timesteps.map((t) => interpolate(table, t)), 0] }, options), least: first! };
}

/** `count` noise levels from `sigmaMax` down to `sigmaMin`: Karras et al. 2022, Eq. 5 with rho = 7. */
export function karrasSigmas(sigmaMin: number, sigmaMax: number, count: number): number[] {
  const rho = 7;
  const from = sigmaMax ** (1 / rho);
  const to = sigmaMin ** (1 / rho);
  return linspace(0, 1, count).map((ramp) => (from + ramp * (to - from)) ** rho);
}

/** The (fractional) timestep of a noise level, linear in log sigma. */
export function timestepOfSigma(sigma: number, table: readonly number[]): number {
  const logSigma = Math.log(Math.max(sigma, 1e-10));
  const above = table.findIndex((entry) => Math.log(entry) > logSigma);
  const low = Math.min(above === -1 ? table.length - 2 : Math.max(above - 1, 0), table.length - 2);
  const logLow = Math.log(table[low]!);
  const weight = (logLow - logSigma) / (logLow - Math.log(table[low + 1]!));
  return low + Math.min(Math.max(weight, 0), 1);
}

/** The table's value at a fractional position. */
export function interpolate(table: readonly number[], position: number): number {
  const low = Math.floor(position);
  const fraction = position - low;
  return fraction === 0 ? table[low]! : table[low]! + fraction * (table[low + 1]! - table[low]!);
}

/** `count` evenly spaced numbers, ends included; only `from` when `count` is 1 (as NumPy). */
export function linspace(from: number, to: number, count: number): number[] {
  if (count === 1) return [from];
  const step = (to - from) / (count - 1);
  return Array.from({ length: count }, (_, i) => (i === count - 1 ? to : from + i * step));
}

/** NumPy's `round`. */
export function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}
