/**
 * What the engine needs to know about a model folder, checked and normalised: no field is optional,
 * lists are written out per level, and diffusers' historical names are translated.
 * Every `weights` lists absolute paths of safetensors files (several when the model is sharded).
 */

/** `CLIPTextModel`. */
export interface TextConfig {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numLayers: number;
  readonly numHeads: number;
  /** Longest sequence, 77 for CLIP. */
  readonly maxPositionEmbeddings: number;
  readonly hiddenAct: 'quick_gelu' | 'gelu';
  readonly layerNormEps: number;
  readonly eosTokenId: number;
  readonly weights: readonly string[];
}

/** `UNet2DConditionModel`. Lists have one entry per level, level 0 being the finest; `up*` lists too. */
export interface UNetConfig {
  readonly inChannels: number;
  readonly outChannels: number;
  /** Side lengths [height, width] of the latents that the model was trained on. */
  readonly sampleSize: readonly [number, number];
  readonly blockOutChannels: readonly number[];
  /** ResNet blocks per level on the way down; the way up has one more. */
  readonly layersPerBlock: readonly number[];
  /** Whether the level has transformer blocks on the way down. The middle always has them. */
  readonly downAttention: readonly boolean[];
  /** The same on the way up, indexed by level as `downAttention` (so in reverse of `up_block_types`). */
  readonly upAttention: readonly boolean[];
  /** Number of attention heads per level; the head dimension is `blockOutChannels / numHeads`. */
  readonly numHeads: readonly number[];
  readonly transformerLayers: readonly number[];
  readonly crossAttentionDim: number;
  readonly useLinearProjection: boolean;
  readonly normNumGroups: number;
  readonly normEps: number;
  readonly flipSinToCos: boolean;
  readonly freqShift: number;
  readonly centerInputSample: boolean;
  readonly weights: readonly string[];
}

/** `AutoencoderKL`. */
export interface VaeConfig {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly latentChannels: number;
  readonly blockOutChannels: readonly number[];
  readonly layersPerBlock: number;
  readonly normNumGroups: number;
  readonly midBlockAttention: boolean;
  readonly useQuantConv: boolean;
  readonly usePostQuantConv: boolean;
  /** Latents are multiplied by this before they meet the UNet. */
  readonly scalingFactor: number;
  /** Pixels per latent along each side: 2^(levels - 1). */
  readonly downscale: number;
  readonly weights: readonly string[];
}

export type BetaSchedule = 'linear' | 'scaled_linear' | 'squaredcos_cap_v2';
export type PredictionType = 'epsilon' | 'v_prediction';
export type TimestepSpacing = 'leading' | 'linspace' | 'trailing';

/** `scheduler_config.json`, whichever scheduler class wrote it. */
export interface SchedulerConfig {
  readonly numTrainTimesteps: number;
  readonly betaStart: number;
  readonly betaEnd: number;
  readonly betaSchedule: BetaSchedule;
  /** Given betas, which replace the schedule; null otherwise. */
  readonly trainedBetas: readonly number[] | null;
  readonly predictionType: PredictionType;
  readonly stepsOffset: number;
  readonly setAlphaToOne: boolean;
  /** null: not in the file, so every sampler uses its own default, as diffusers' `from_config` does. */
  readonly timestepSpacing: TimestepSpacing | null;
  readonly rescaleBetasZeroSnr: boolean;
  readonly useKarrasSigmas: boolean;
}

/** A whole diffusers-layout folder. */
export interface ModelConfig {
  /** Absolute path of the folder. */
  readonly folder: string;
  readonly textEncoder: TextConfig;
  readonly unet: UNetConfig;
  readonly vae: VaeConfig;
  readonly scheduler: SchedulerConfig;
  /** Absolute path of the tokenizer's folder. */
  readonly tokenizerFolder: string;
  /** Size of the pictures that the model was trained on, in pixels. */
  readonly pictureSize: { readonly width: number; readonly height: number };
}
