/**
 * What the engine needs to know about a model folder, checked and normalised: no field is optional,
 * lists are written out per level, and diffusers' historical names are translated.
 */
import type { SamplerName } from '../diffusion/sampler-names';
import type { NativeTextConfig, NativeUNetConfig, NativeVaeConfig } from '../../typings/native';

/** `CLIPTextModel`. */
export type TextConfig = NativeTextConfig;

/** `UNet2DConditionModel`. */
export interface UNetConfig extends NativeUNetConfig {
  /** [height, width] of the latents that the model was trained on; null when the config does not say. */
  sampleSize: [number, number] | null;
}

/** `AutoencoderKL`, `AsymmetricAutoencoderKL` (which decodes without a mask) or `AutoencoderTiny`. */
export interface VaeConfig extends NativeVaeConfig {
  /** Latents are multiplied by this before they meet the UNet. */
  scalingFactor: number;
  /** Pixels per latent along each side: 2^(levels - 1). */
  downscale: number;
}

export type BetaSchedule = 'linear' | 'scaled_linear' | 'squaredcos_cap_v2';
export type PredictionType = 'epsilon' | 'v_prediction';
export type TimestepSpacing = 'leading' | 'linspace' | 'trailing';

/** `scheduler_config.json`, whichever scheduler class wrote it. */
export interface SchedulerConfig {
  numTrainTimesteps: number;
  betaStart: number;
  betaEnd: number;
  betaSchedule: BetaSchedule;
  /** Given betas, which replace the schedule; null otherwise. */
  trainedBetas: number[] | null;
  predictionType: PredictionType;
  stepsOffset: number;
  /** null: not in the file; see timestepSpacing. */
  setAlphaToOne: boolean | null;
  /** null: not in the file, so every sampler uses its own default, as diffusers' `from_config` does. */
  timestepSpacing: TimestepSpacing | null;
  rescaleBetasZeroSnr: boolean;
  useKarrasSigmas: boolean;
  /** LCM and TCD: how many timesteps the distillation saw, and the factor of its boundary condition. */
  originalInferenceSteps: number;
  timestepScaling: number;
  /** The sampler of the folder's own class: what is drawn with unless a caller chooses. */
  sampler: SamplerName;
  /** Samplers that cannot do what the config asks for, by name, with the reason. */
  refused: Readonly<Partial<Record<SamplerName, string>>>;
}

/** A folder's path; or CLIP's own vocabulary with a token that fills texts up, for a model that comes without one. */
export type TokenizerSource = string | { readonly pad: '<|endoftext|>' | '!' };

/** A whole model: a folder in diffusers layout, or a single file. */
export interface ModelConfig {
  /** Absolute path of the folder, or of the file. */
  folder: string;
  text: TextConfig;
  unet: UNetConfig;
  vae: VaeConfig;
  /** Of the same latents, for previews and drafts. */
  drafts?: VaeConfig;
  scheduler: SchedulerConfig;
  tokenizer: TokenizerSource;
  /** The file tells nothing of its prediction, so that `scheduler.predictionType` is a guess. */
  guessed: boolean;
}
