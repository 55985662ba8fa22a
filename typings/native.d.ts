/**
 * The contract of the native addon (csrc/addon). lib/ is its only caller: it validates, the addon parses and queues.
 *
 * Conventions: latents are `[B, C, h, w]` as in diffusers, pictures are `[B, H, W, 3]` in [-1, 1], embeddings `[B, T, D]`.
 * Inputs are copied when a call is made. Jobs of one model run on a thread of their own and begin in the order of the calls;
 * samplings and searches go step by step, and others begin between their steps; jobs of one search never overlap. A job rejects with
 * an `Error` whose `code` is one of lib/errors.ts.
 */

/**
 * Stops jobs, also in the middle of an op. Shared by any number of jobs. A search's step whose backward has begun, and one that a drawing
 * takes with others, go on; their promises reject all the same.
 */
export class NativeAbort {
  constructor();
  abort(): void;
}

/** Where a tensor lies. Its elements lie together, the last dimension's beside each other. */
export interface NativeTensor {
  /** The one that the model asks for: as in diffusers and transformers. */
  name: string;
  /** As safetensors calls it: 'F32', 'F16', 'BF16'; others are refused when the model asks for them. */
  dtype: string;
  shape: number[];
  /** Index into `files`. */
  file: number;
  /** Of the first byte in the file. */
  offset: number;
}

export interface NativeFiles {
  /** Absolute paths of files (one, or all shards). */
  files: string[];
  /** What is in them. Absent: they are safetensors, which say so themselves. */
  tensors?: NativeTensor[];
}

export interface NativeUNetConfig extends NativeFiles {
  inChannels: number;
  outChannels: number;
  blockOutChannels: number[];
  /** Per down block: has it attention? */
  downAttention: boolean[];
  /** Per up block, in the order of `up_block_types`. */
  upAttention: boolean[];
  /** Between down and up blocks; distilled models have none. */
  midBlock: boolean;
  layersPerBlock: number[];
  /** Number of heads per level. */
  heads: number[];
  transformerLayers: number[];
  crossAttentionDim: number;
  normGroups: number;
  normEps: number;
  flipSinToCos: boolean;
  freqShift: number;
  centerInput: boolean;
  /** Size of the embedding of the guidance scale (latent consistency models); absent or 0: there is none. */
  timeCondDim?: number;
}

export interface NativeTextConfig extends NativeFiles {
  vocabSize: number;
  hiddenSize: number;
  intermediateSize: number;
  layers: number;
  heads: number;
  maxPositions: number;
  activation: 'quick_gelu' | 'gelu';
  layerNormEps: number;
}

export interface NativeVaeConfig extends NativeFiles {
  inChannels: number;
  outChannels: number;
  latentChannels: number;
  blockOutChannels: number[];
  layersPerBlock: number;
  /** The decoder's, where they differ (AsymmetricAutoencoderKL, AutoencoderTiny); as many levels. */
  decoderBlockOutChannels?: number[];
  decoderLayersPerBlock?: number;
  /** AutoencoderTiny's blocks per level. With them it is one, and knows no norms, no middle and no quantisation. */
  encoderBlocks?: number[];
  decoderBlocks?: number[];
  normGroups: number;
  midAttention: boolean;
  quantConv: boolean;
  postQuantConv: boolean;
}

/** Where to compute. */
export interface NativePlace {
  /** 'auto' | 'cpu' | 'cuda' | 'cuda:N'; absent: 'cpu'. */
  device?: string;
  /** 'auto' | 'fp32' | 'fp16' | 'bf16'; absent: 'auto'. */
  precision?: string;
  /** Threads of the CPU's pool, ≥ 1. */
  threads: number;
  /**
   * Bytes of the device, weights and activations together; a job that would need more is refused before it starts. Absent:
   * `hostMemory` on the CPU, 90 % of what is free on a card.
   */
  memoryLimit?: number;
  /** Absent: no limit. */
  hostMemory?: number;
}

export interface NativeModelOptions extends NativePlace {
  unet: NativeUNetConfig;
  text: NativeTextConfig;
  vae: NativeVaeConfig;
  /** Another autoencoder of the same latents, which decodes drafts. */
  drafts?: NativeVaeConfig;
  /** The model serves plan…() alone, and all jobs are refused: no weights are read, and CUDA needs no card. */
  planOnly?: boolean;
}

/** See `DeviceInfo` in lib/device.ts; `memory` 0: not known, `reason` empty: it can be used. */
export interface NativeDevice {
  device: string;
  name: string;
  memory: number;
  reason: string;
}

/** One K-V weight tensor, in the network's order. */
export interface NativeKvTensor {
  name: string;
  /** [out, in] */
  shape: [number, number];
}

/** Numbers of one solver step; see `SamplerStep` in lib/diffusion/schedule.ts. Flattened in this order into `steps`. */
export type NativeStepField =
  | 'timestep' | 'inputScale' | 'predictionFromX' | 'predictionFromOutput' | 'xFromX' | 'xFromPrediction'
  | 'xFromPrevious0' | 'xFromPrevious1' | 'xFromPrevious2' | 'xFromPrevious3' | 'noise';

export interface NativeJob {
  abort?: NativeAbort;
}

export interface NativeLatentShape {
  batch: number;
  height: number;
  width: number;
}

export interface NativeDenoise extends NativeJob, NativeLatentShape {
  /** [B, C, h, w] */
  latents: Float32Array;
  /** [B] */
  timesteps: Float64Array;
  /** [B, T, D] */
  embeddings: Float32Array;
  tokens: number;
  /** Per batch row; null: base weights. Absent: base weights everywhere. */
  masks?: (NativeMask | null)[];
}

/** A linear layer or convolution, which adapters may change. */
export interface NativeLayer {
  part: 'unet' | 'text';
  /** Of its weight, as the model has it. */
  name: string;
  /** [out, in], or [out, in, kh, kw] */
  shape: number[];
}

/** Numbers of an adapter, as a file has them. */
export interface NativeAdapterTensor {
  dtype: 'F32' | 'F16' | 'BF16';
  shape: readonly number[];
  data: Uint8Array;
}

/** What an adapter changes of one layer: `scale` · up · down is added to its weight; or `weight` and `bias` stand in its weights' place. */
export interface NativeAdapterLayer extends Pick<NativeLayer, 'part' | 'name'> {
  /** Default 1. */
  scale?: number;
  /** [rank, in], or [rank, in, kh, kw] */
  down?: NativeAdapterTensor;
  /** [out, rank] */
  up?: NativeAdapterTensor;
  weight?: NativeAdapterTensor;
  bias?: NativeAdapterTensor;
}

/** An adapter of one model, in its memory. */
export class NativeAdapter {
  private constructor();
  /** Of the device's memory; 0 once it is disposed. */
  readonly bytes: number;
  /** Drawings under way go on with it. */
  dispose(): void;
}

export interface NativeAdapterUse {
  adapter: NativeAdapter;
  weight: number;
}

/** What the memory of a drawing depends on. */
export interface NativeDrawingSize extends NativeLatentShape {
  tokens: number;
  guided: boolean;
  /** Of each picture. Default 1. */
  regions?: number;
  /** What a region's row sees. Default: the whole picture. */
  window?: { height: number; width: number };
  /** Guided by a picture, too. */
  byPicture?: boolean;
  /** What is known of the pictures is kept. */
  known?: boolean;
  /** That any of its pictures has. */
  adapters?: readonly NativeAdapterUse[];
}

export interface NativeSample extends NativeJob, NativeLatentShape {
  /** Initial latents [B, C, h, w], already scaled by the schedule's initial noise scale; C: the UNet's output channels. */
  latents: Float32Array;
  /** R: what each picture is blended of in every step, with a text and a mask each, one after another; absent: 1. */
  regions?: number;
  /** With `regions`: what a region's row sees of the latents: windows' height and width, then top and left of each [2 + 2R]. */
  windows?: Int32Array;
  /** [B·R, h, w], with `regions`: the weight of a region's output at every position; where its window is not, it counts for nothing. */
  weights?: Float32Array;
  /** [B·R, T, D] */
  embeddings: Float32Array;
  /** [B·R, T, D]; absent: no classifier-free guidance. */
  negativeEmbeddings?: Float32Array;
  tokens: number;
  guidance: number;
  /** [steps × 11], see {@link NativeStepField}. */
  steps: Float64Array;
  /** Per picture, for solvers that add noise: Philox seeds [B]. */
  seeds: BigUint64Array;
  /** [B, X, h, w], X the UNet's input channels beyond its output's: what it sees behind the latents. */
  conditions?: Float32Array;
  /** With negativeEmbeddings: guidance by the conditions, too, in three rows for each picture (InstructPix2Pix). */
  imageGuidance?: number;
  /** What is known of the pictures, put back after every step. */
  known?: NativeKnown;
  /** [B·R] */
  masks?: (NativeMask | null)[];
  /** Per picture; its negative prompt's row has the same. */
  adapters?: (readonly NativeAdapterUse[] | null)[];
  /** `onStep` gets latents after so many steps, and after the last; 0, or absent: never. Its pictures then keep pace. */
  latentsEvery?: number;
  /**
   * Called on the JavaScript thread after every step, x and the step's prediction [B, C, h, w] with it; and before the first, when the
   * drawing has to wait: with 0 steps and its place among those who wait, from 1.
   */
  onStep?: (step: number, place?: number, latents?: Float32Array, predicted?: Float32Array) => void;
}

/** x = mask ⊙ x + (1 − mask) ⊙ (imageShare · image + noiseShare · noise) */
export interface NativeKnown {
  /** [B, C, h, w] */
  image: Float32Array;
  noise: Float32Array;
  /** [B, 1, h, w] */
  mask: Float32Array;
  /** [steps × 2]: imageShare and noiseShare in the latents after each step. */
  shares: Float64Array;
}

export interface NativeGradient extends NativeDenoise {
  /** What the UNet should have predicted, [B, C, h, w]; with `weights`, or `upstream` in place of both. */
  target?: Float32Array;
  /** [B]: loss = Σ_b weight_b · mean((output_b − target_b)²) */
  weights?: Float64Array;
  /** ∂loss/∂output of any loss, [B, C, h, w]. */
  upstream?: Float32Array;
  /** Names of UNet weights whose gradients are wanted. Only these are paid for. */
  tensors: string[];
  wantLatents?: boolean;
  wantEmbeddings?: boolean;
  checkpointing?: boolean | 'light';
}

export interface NativeGradientResult {
  /** Of a target; 0 with `upstream`. */
  loss: number;
  /** Unweighted mean squared error per row [B]; empty with `upstream`. */
  rows: Float64Array;
  /** With `upstream`: what the UNet predicts, [B, C, h, w]. */
  output?: Float32Array;
  /** In the order of `tensors`, each as long as its weight. */
  gradients: Float32Array[];
  latents?: Float32Array;
  embeddings?: Float32Array;
}

export interface NativeTokenGradient extends NativeJob {
  /** [rows × T] */
  ids: Int32Array;
  /** Default 1. */
  rows?: number;
  /** Token ids whose embeddings' gradients [R, D] are wanted. */
  tokens: Int32Array;
  /** ∂L/∂(last hidden state) [rows, T, D] */
  upstream: Float32Array;
}

/** What searches and trainings learn from. */
export interface NativeData extends NativeJob, NativeLatentShape {
  /** VAE moments of all pictures, subject first [N, 2C, h, w]: mean, log-variance. */
  moments: Float32Array;
  /** Pictures that show the subject: the first `subjects` of N; the others are prior pictures. */
  subjects: number;
  /** Text states of all captions [P, T, D]. */
  embeddings: Float32Array;
  tokens: number;
  /** Captions of picture n: captions[captionOffsets[n] … captionOffsets[n + 1]) index into `embeddings`. */
  captions: Int32Array;
  captionOffsets: Int32Array;
  latentScale: number;
  /** Subject and prior rows per step. `batch` is their sum. */
  subjectBatch: number;
  priorBatch: number;
  /** λ of Eq. 4. */
  priorWeight: number;
  /** Training noise schedule: ᾱ_t for every t [trainSteps]. */
  alphasCumprod: Float64Array;
  prediction: 'epsilon' | 'v_prediction';
  /** Timesteps are drawn uniformly from [minTimestep, maxTimestep). */
  minTimestep: number;
  maxTimestep: number;
  seed: bigint;
  checkpointing: boolean | 'light';
  /** Learns the embeddings of tokens, too. */
  identifier?: NativeIdentifier;
}

export interface NativeSearchOptions extends NativeData {
  algorithm: 'a2' | '1';
  optimizer: 'adam' | 'sgd';
  /** Learning rate of ξ, after any scaling rule. */
  learningRate: number;
  beta1: number;
  beta2: number;
  epsilon: number;
  /** Keep ξ within [0, 1]. */
  clamp: boolean;
  /** Straight-through: the number of weights that are 0 in the forward pass, those of highest displacement; 0: γ = ξ ⊙ θ. */
  shut: number;
  /** It grows from none in the first step to `shut` in this one. */
  ramp: number;
  /** Indices into kvTensors that are searched. */
  tensors: Int32Array;
  /** Only these weights may become concept neurons (joint refinement); absent: all of `tensors`. Same order. */
  within?: Uint32Array[];
}

export interface NativeIdentifier {
  /** Ids of the tokens whose embeddings are learned. */
  tokens: Int32Array;
  /** Each starts as the mean of these tokens' embeddings. */
  starts: Uint32Array[];
  /** Captions that name a subject: indices of `embeddings`, whose states are then computed anew in every step. */
  captions: Int32Array;
  /** Their token ids [captions × T] */
  ids: Int32Array;
  /** Adam's. */
  learningRate: number;
  /** The embedding is scaled down to this length after every step; absent: it may grow. */
  normLimit?: number;
  /** AdamW's. Default 0: Adam. */
  weightDecay?: number;
}

/** What decides the memory of a search; see {@link NativeSearchOptions}. `batch`: rows per step. */
export interface NativeSearchPlan extends NativeLatentShape {
  pictures: number;
  captions: number;
  tokens: number;
  tensors: Int32Array;
  optimizer: 'adam' | 'sgd';
  checkpointing?: boolean | 'light';
  /** The most different captions with a learned identifier in one step; 0: none is learned. */
  identifierRows?: number;
}

export interface NativeTrainingOptions extends NativeData {
  /** What is trained beside embeddings: nothing, K-V weights, or all weights of the UNet. */
  weights: 'none' | 'kv' | 'unet';
  /** Indices into kvTensors; with `weights: 'kv'` alone. */
  tensors?: Int32Array;
  /** No gradient flows through the first token's keys and values, as Custom Diffusion has it. */
  firstTokenFixed?: boolean;
  /** AdamW's, after any scaling rule; weightDecay 0: Adam's. */
  learningRate: number;
  beta1: number;
  beta2: number;
  epsilon: number;
  weightDecay: number;
}

/** What decides the memory of a training. `batch`: rows per step. */
export interface NativeTrainingPlan extends NativeLatentShape {
  pictures: number;
  captions: number;
  tokens: number;
  weights: 'none' | 'kv' | 'unet';
  tensors?: Int32Array;
  checkpointing?: boolean | 'light';
  /** The most different captions with learned identifiers in one step; 0: none is learned. */
  identifierRows: number;
  /** How many are learned. */
  identifiers: number;
}

export interface NativeSearchRun extends NativeJob {
  steps: number;
  /** Of the time, between 0 and 1, that searches have while others have something to do. Default 0.5. */
  share?: number;
  /** After every step: steps done so far, L_con, L_sub, L_pr, milliseconds. */
  onStep?: (step: number, loss: number, subjectLoss: number, priorLoss: number, ms: number) => void;
}

export interface NativeSearchUpdate extends Omit<NativeDenoise, 'masks'> {
  /** [B, C, h, w] */
  target: Float32Array;
  /** [B], see {@link NativeGradient.weights}. */
  weights: Float64Array;
}

/** What takes steps, by noise that is a function of (seed, step), so that it resumes bit-exactly. */
export interface NativeLearning {
  readonly step: number;
  run(options: NativeSearchRun): Promise<void>;
  /** One step on an explicit batch, for goldens and researchers; not where identifiers are learned. */
  update(options: NativeSearchUpdate): Promise<{ loss: number; rows: Float64Array }>;
  saveState(): Promise<Uint8Array>;
  /** `state` is not copied: it must neither be written to nor transferred until the promise settles. */
  loadState(state: Uint8Array): Promise<void>;
  dispose(): void;
}

/**
 * ξ, the optimiser's moments and S over the searched weights. Its state: step, then per searched tensor 1 − ξ, first moment, second moment,
 * S; then a learned embedding and its moments. A step under way is not taken to its end when it is disposed.
 */
export interface NativeSearch extends NativeLearning {}
export class NativeSearch {
  private constructor();
  /** The learned identifier's embedding [D] as it is now. */
  embedding(): Promise<Float32Array>;
  /** Per searched tensor: the values that rank neurons, displacement 1 − ξ or the summed score S. */
  ranking(by: 'displacement' | 'score'): Promise<Float32Array[]>;
  /** Sorted indices per searched tensor with ranking > threshold. */
  selectThreshold(by: 'displacement' | 'score', threshold: number): Promise<Uint32Array[]>;
  /** The `count` highest-ranked weights over all searched tensors (ranking > 0 only); and the threshold they pass. */
  selectCount(by: 'displacement' | 'score', count: number): Promise<{ indices: Uint32Array[]; threshold: number }>;
}

/**
 * Token embeddings and weights with AdamW's moments. Its state: step, then per weight values, first and second moment; then the embeddings
 * and theirs. An abort leaves the state of the last whole step.
 */
export interface NativeTraining extends NativeLearning {}
export class NativeTraining {
  private constructor();
  /** The learned identifiers' embeddings [tokens, D] as they are now. */
  embeddings(): Promise<Float32Array>;
  /** The trained weights as they are now, by diffusers' names. */
  weights(): Promise<{ name: string; shape: number[]; values: Float32Array }[]>;
}

/** Loss of Eq. 2–3 on fixed pictures, noise and timesteps, without gradients, for reports. */
export interface NativeLoss extends NativeJob, NativeLatentShape {
  moments: Float32Array;
  latentScale: number;
  embeddings: Float32Array;
  tokens: number;
  /** [B] */
  timesteps: Float64Array;
  alphasCumprod: Float64Array;
  prediction: 'epsilon' | 'v_prediction';
  seed: bigint;
  masks?: (NativeMask | null)[];
}

/** Concept neurons of one model as bit sets in the order in which the kernels read weights. Immutable. */
export class NativeMask {
  private constructor();
  readonly size: number;
}

export interface NativeMemory {
  weights: number;
  inUse: number;
  peak: number;
  /** Bytes of blocks that are kept for the next job. */
  cached: number;
  limit: number;
  /** Of `inUse`: weights packed for gradients. */
  forGradients: number;
}

export class NativeModel {
  private constructor();
  readonly kvTensors: NativeKvTensor[];
  /** The bytes of one K-V tensor as they lie in the file. */
  kvBytes(index: number): Uint8Array;
  /** The same as fp32. */
  kvValues(index: number): Float32Array;
  readonly isa: string;
  /** 'cpu', 'cuda:0' */
  readonly device: string;
  /** 'fp32', 'fp16', 'bf16' */
  readonly precision: string;
  /** With device 'auto': which cards were there and are not used, and why; else empty. */
  readonly note: string;
  memory(): NativeMemory;
  /** Gives back what is kept for the next job, and weights packed for gradients where no search has them, as a job. */
  trim(job: NativeJob): Promise<void>;
  /** UNet calls of drawings and their rows, over the last ten seconds. */
  recentSteps(): { stepsPerSecond: number; rowsPerStep: number };
  /** Bytes that are free, or will be when the drawings under way have ended: asked as a job, so that no step is running meanwhile. */
  availableMemory(job: NativeJob): Promise<number>;
  /** Peak bytes that a job would need above the weights, without running it. */
  planDenoise(batch: number, height: number, width: number, tokens: number): number;
  planGradient(options: NativeLatentShape & { tokens: number; tensors: string[]; checkpointing?: boolean | 'light' }): number;
  /** The mean length of the vocabulary's token embeddings. */
  wordNorm(job: NativeJob): Promise<number>;
  planText(rows: number, tokens: number): number;
  planSample(options: NativeDrawingSize): number;
  /** `peak` of a step; `held` between steps. Pictures and captions included. */
  planSearch(options: NativeSearchPlan): { peak: number; held: number };
  planTraining(options: NativeTrainingPlan): { peak: number; held: number };
  /** With `available` bytes, by default those that are free: small pictures go together, as many as fit. */
  planEncode(batch: number, height: number, width: number, available?: number): number;
  planDecode(batch: number, height: number, width: number, available?: number, draft?: boolean): number;
  /** ids [rows × T] → last hidden state [rows, T, D]; `replace`: learned embeddings [R, D] for token ids [R]. */
  encodeText(ids: Int32Array, rows: number, job: NativeJob & { replaceIds?: Int32Array; replaceRows?: Float32Array; adapters?: readonly NativeAdapterUse[] }): Promise<Float32Array>;
  tokenGradient(options: NativeTokenGradient): Promise<Float32Array>;
  /** pixels [B, H, W, 3] in [-1, 1] → moments [B, 2C, h, w] (mean, log-variance). */
  encodeImages(pixels: Float32Array, batch: number, height: number, width: number, job: NativeJob): Promise<Float32Array>;
  /** latents [B, C, h, w], divided by the scaling factor already → [B, H, W, 3]. */
  decode(latents: Float32Array, batch: number, height: number, width: number, job: NativeJob & { draft?: boolean }): Promise<Float32Array>;
  denoise(options: NativeDenoise): Promise<Float32Array>;
  sample(options: NativeSample): Promise<Float32Array>;
  gradient(options: NativeGradient): Promise<NativeGradientResult>;
  loss(options: NativeLoss): Promise<Float64Array>;
  /** The text encoder's and the UNet's. */
  adaptable(): NativeLayer[];
  createAdapter(layers: readonly NativeAdapterLayer[], job: NativeJob): Promise<NativeAdapter>;
  /** Sorted indices of shut weights per K-V tensor, in the order of kvTensors. */
  createMask(indices: Uint32Array[]): Promise<NativeMask>;
  createSearch(options: NativeSearchOptions): Promise<NativeSearch>;
  createTraining(options: NativeTrainingOptions): Promise<NativeTraining>;
  /** Aborts and awaits running jobs, then frees the weights. Later calls reject with CONES_DISPOSED. */
  dispose(): Promise<void>;
}

/** A CLIP vision tower; see NativeTextConfig for the text tower. */
export interface NativeVisionConfig {
  channels: number;
  imageSize: number;
  patchSize: number;
  hiddenSize: number;
  intermediateSize: number;
  layers: number;
  heads: number;
  activation: 'quick_gelu' | 'gelu';
  layerNormEps: number;
}

export interface NativeClipOptions extends NativeFiles, NativePlace {
  text: Omit<NativeTextConfig, 'files'>;
  vision: NativeVisionConfig;
  projectionSize: number;
  eosTokenId: number;
}

/** A CLIP pair. Embeddings have length 1. */
export class NativeClip {
  private constructor();
  /** As NativeModel's. */
  readonly device: string;
  readonly precision: string;
  readonly note: string;
  /** pixels [B, S, S, channels], normalised → [B, P] */
  embedImages(pixels: Float32Array, job: NativeJob & { batch: number }): Promise<Float32Array>;
  /** ids [B × T] → [B, P] */
  embedTexts(ids: Int32Array, job: NativeJob & { batch: number }): Promise<Float32Array>;
  dispose(): void;
}

export interface NativeAddon {
  /** The CPU first. */
  listDevices(): Promise<NativeDevice[]>;
  /** The tensors of a safetensors file, in the order of their names. */
  readSafetensors(file: string): Promise<NativeTensor[]>;
  loadClip(options: NativeClipOptions): Promise<NativeClip>;
  loadModel(options: NativeModelOptions): Promise<NativeModel>;
  /** Standard normal values [offset, offset + count) of stream `seed` (Philox 4×32-10). */
  randomNormal(seed: bigint, offset: number, count: number): Float32Array;
  NativeAbort: typeof NativeAbort;
}
