import path from 'node:path';
import type { SamplerName } from './diffusion/sampler-names';
import { z } from 'zod';
import type { Adapter } from './adapter';
import type { Concept } from './concept';
import { deviceOptions, type DeviceOptions, nativePlace, type Precision } from './device';
import { loadAdapter, type LoadAdapterOptions } from './engine/adapters';
import { Admission, admissionOptions, type Limits } from './engine/admission';
import { machineWarnings } from './engine/machine-warnings';
import { modelWarnings } from './engine/model-warnings';
import { encodePrompt, type EncodedPrompts, type EncodePromptOptions } from './engine/text';
import { drawAgain, type DrawAgainOptions } from './engine/draw-again';
import type { GenerateOptions, GenerateResult } from './engine/generate';
import { Generation } from './engine/generation';
import { decode, encodeImage, type EncodeImageOptions, type Moments, type Pixels } from './engine/pictures';
import {
  type GeneratePlanOptions,
  type MemoryPlan,
  planGenerate,
  planRefinement,
  planSearch,
  type RefinementPlanOptions,
  type SearchPlanOptions,
} from './engine/plan';
import { noised, type Schedule, schedule, type ScheduleOptions } from './engine/noise';
import { Session } from './engine/session';
import {
  conceptGradient,
  denoise,
  type ConceptGradient,
  type DenoiseOptions,
  type Embeddings,
  type GradientOptions,
  type Latents,
  vjp,
  type Vjp,
  type VjpOptions,
} from './engine/tensors';
import type { FindConceptOptions } from './methods/cones/options';
import type { RefineConceptsOptions } from './methods/cones/refine-options';
import { ConceptSearch } from './methods/cones/search';
import type { ImageInput } from './images/images';
import { loadWithin } from './models/loading-memory';
import { loadModelConfig, readDraftsConfig } from './models';
import { downloadOptions, type DownloadOptions, modelFolder } from './models/hub';
import { fromNative, native } from './native';
import { parseOptions } from './util/options';
import { readRareTokens } from './text/prompt';
import { Tokenizer } from './text/tokenizer';
import type { Warning } from './warning';

export interface EngineOptions extends DeviceOptions, DownloadOptions {
  /**
   * The engine plans, and does nothing else: no weights are read, and `device: 'cuda'` needs no GPU (without one, give the `memoryLimit`
   * that it would have). Default false.
   */
  readonly planOnly?: boolean;
  /**
   * Whether pictures, CLIP pairs and caches may be given as paths. False: texts that come from outside (the JSON body of a request)
   * make the engine read or write no files; pictures are bytes then. Default true.
   */
  readonly allowPaths?: boolean;
  /**
   * Of a model in one file: what its UNet predicts. Default: 'epsilon', but 'v_prediction' for Stable Diffusion 2.x, unless the file has
   * the step of its base model (the tensors do not tell; `engine.warnings` says where it is a guess).
   */
  readonly prediction?: 'epsilon' | 'v_prediction';
  /** Of a model in one file: the averaged (EMA) weights of the UNet, where it has both. Default false, as diffusers. */
  readonly ema?: boolean;
  /**
   * Of a model in one file: a folder in diffusers layout, whose configs, scheduler and tokenizer are taken. It needs no weights. Default:
   * sizes are told from the tensors, all else is as in Stable Diffusion 1.x or 2.x, with CLIP's vocabulary.
   */
  readonly config?: string;
  /**
   * The folder of another autoencoder for the same latents, such as TAESD (`AutoencoderTiny`): previews then are whole pictures, and
   * `generate({ decoder: 'drafts' })` ends with it. Default: none.
   */
  readonly drafts?: string;
  /** Calls of generate that may be waiting or being drawn at once; one more is CONES_QUEUE_FULL. Default: any number. */
  readonly maxQueue?: number;
  /** The most that one call of generate may ask for; more is CONES_LIMIT_EXCEEDED. Default: no limits. */
  readonly limits?: Limits;
}

/** What an engine has to do. Other numbers than `memory` are of its drawings. */
export interface EngineStats {
  /** Calls of generate that have not taken a step yet. */
  readonly waiting: number;
  /** Calls that have, and are not done. */
  readonly running: number;
  /** UNet calls a second, and their rows (two a picture with guidance), over the last ten seconds. */
  readonly stepsPerSecond: number;
  readonly rowsPerStep: number;
  readonly memory: MemoryUse;
}

/** Memory of an engine in bytes. */
export interface MemoryUse {
  /** The packed weights. */
  readonly weights: number;
  /** Weights and everything else that is held now. */
  readonly inUse: number;
  /** The most that was held at once. */
  readonly peak: number;
  /** Kept for the next job of the same size, and not in use; {@link Engine.trim} gives it back. Not more than was ever in use. */
  readonly cached: number;
  /**
   * Of `inUse`, the weights as gradients read them: packed on the CPU when the first search or gradient needs them, about as much as the
   * UNet's weights, and kept until {@link Engine.trim}.
   */
  readonly forGradients: number;
  readonly limit: number;
}

const singleFileOptions = {
  prediction: z.enum(['epsilon', 'v_prediction']).optional(),
  ema: z.boolean().optional(),
  config: z.string().min(1).optional(),
};
const engineOptions = z.strictObject({ ...deviceOptions, ...downloadOptions, planOnly: z.boolean().default(false), allowPaths: z.boolean().default(true), drafts: z.string().min(1).optional(), ...singleFileOptions, ...admissionOptions });

/**
 * A text-to-image model in memory. Jobs of one engine share a thread of their own and never block the event loop: drawings take
 * their steps together, searches let others in between theirs. Several engines, and engines in several worker threads, are
 * independent.
 *
 * @example
 * await using engine = await Engine.load('models/mini');
 * const cat = await engine.findConcept({ images: ['1.png', '2.png', '3.png'], category: 'cat' });
 * const { images } = await engine.generate({ prompt: 'a V1* cat on the beach', concepts: [cat], seed: 7 });
 * await images[0].save('cat.png');
 */
export class Engine implements AsyncDisposable {
  readonly #session: Session;

  private constructor(session: Session) {
    this.#session = session;
  }

  /**
   * Loads a model (Stable Diffusion 1.x or 2.x, or models/mini).
   * @param model the path of a folder in diffusers layout, or of a single file, `.safetensors` or `.ckpt`, as CompVis,
   *   stable-diffusion-webui and Civitai have them (a checkpoint's pickle is read, never executed); or a name on the Hugging Face hub,
   *   `hf:organisation/model` or `hf:organisation/model@revision`: downloaded where the cache does not have it ({@link pullModel}), without
   *   a request where it has
   * @throws ConesError CONES_MODEL_NOT_FOUND, CONES_MODEL_GATED, CONES_DOWNLOAD_FAILED, CONES_ABORTED, CONES_CONFIG_INVALID, CONES_CONFIG_UNSUPPORTED, CONES_SAFETENSORS_INVALID,
   *   CONES_CHECKPOINT_INVALID, CONES_TENSOR_MISSING, CONES_TENSOR_SHAPE, CONES_TENSOR_UNEXPECTED, CONES_OUT_OF_MEMORY, CONES_NATIVE_MISSING, CONES_IO,
   *   CONES_OPTION_INVALID, CONES_DEVICE_UNAVAILABLE; and every call CONES_DEVICE_LOST once the engine's GPU has failed
   */
  static async load(model: string, options: EngineOptions = {}): Promise<Engine> {
    const settings = parseOptions('Engine.load', engineOptions, options);
    const addon = native();
    const { prediction, ema } = settings;
    const config = await loadModelConfig(await modelFolder(model, settings), { prediction, ema, config: settings.config });
    const drafts = settings.drafts === undefined ? undefined : await readDraftsConfig(path.resolve(settings.drafts), config.vae);
    const [tokenizer, rareTokens] = await Promise.all([
      Tokenizer.load(config.tokenizer, { maxPositions: config.text.maxPositions, vocabSize: config.text.vocabSize }),
      readRareTokens(config.folder),
    ]);
    const place = nativePlace(settings);
    const { threads } = place;
    const { unet, text, vae } = config;
    const { planOnly, allowPaths } = settings;
    const admission = new Admission(settings);
    const loaded = await loadWithin(place, [unet, text, vae, ...(drafts ? [drafts] : [])], (within) => addon.loadModel({ unet, text, vae, ...(drafts ? { drafts } : {}), ...within, planOnly }));
    return new Engine(await fromNative(() => Session.open({ model: loaded, config: { ...config, ...(drafts ? { drafts } : {}) }, tokenizer, rareTokens, threads, allowPaths, admission })));
  }

  /**
   * Draws pictures. Await the result, or iterate over the steps first.
   * @throws ConesError CONES_OPTION_INVALID, CONES_PROMPT_EMPTY, CONES_CONCEPT_MISMATCH, CONES_CONFIG_UNSUPPORTED (the sampler cannot do
   *   what the model's scheduler config asks for), CONES_LOSS_NOT_FINITE, CONES_OUT_OF_MEMORY, CONES_ABORTED, CONES_DISPOSED,
   *   CONES_QUEUE_FULL, CONES_LIMIT_EXCEEDED
   */
  generate(options: GenerateOptions): Generation {
    return new Generation(this.#session, options);
  }

  /**
   * Draws a picture of cones again from what its file says: the same bytes with the same model, concepts, version and instruction set.
   * `readPictureSettings` reads the settings alone.
   * @throws ConesError CONES_SETTINGS_MISSING, CONES_PICTURE_MISMATCH, CONES_IO, CONES_IMAGE_INVALID, and as {@link generate}
   */
  drawAgain(picture: ImageInput, options: DrawAgainOptions = {}): Promise<GenerateResult> {
    return drawAgain(this.#session, picture, options);
  }

  /**
   * Loads a LoRA (kohya's, diffusers' or PEFT's names, also with convolutions), words of textual inversion, or weights of Custom
   * Diffusion, for `generate`'s `adapters`. The model itself stays as it is.
   * @param file the path of a safetensors file or a pickle of PyTorch (which is read, never executed), or its bytes
   * @throws ConesError CONES_ADAPTER_INVALID, CONES_ADAPTER_MISMATCH, CONES_SAFETENSORS_INVALID, CONES_CHECKPOINT_INVALID, CONES_IO,
   *   CONES_OUT_OF_MEMORY, CONES_OPTION_INVALID, CONES_ABORTED, CONES_DISPOSED
   */
  loadAdapter(file: string | Uint8Array, options: LoadAdapterOptions = {}): Promise<Adapter> {
    return loadAdapter(this.#session, file, options);
  }

  /**
   * Finds the concept neurons of a subject (paper §3.1, Algorithm A2).
   * @throws ConesError CONES_IMAGES_MISSING, CONES_IMAGE_INVALID, CONES_IO, CONES_OPTION_INVALID, CONES_LOSS_NOT_FINITE,
   *   CONES_STATE_INVALID, CONES_CONCEPT_MISMATCH, CONES_OUT_OF_MEMORY, CONES_ABORTED, CONES_DISPOSED, and as {@link Clip.load} for
   *   `report.clip`
   */
  findConcept(options: FindConceptOptions): Promise<Concept> {
    return runToEnd(this.startSearch(options));
  }

  /**
   * Refines the concepts of several subjects together, so that one picture can show all of them (paper §3.3).
   * @throws ConesError as {@link findConcept}, and CONES_CONCEPT_MISMATCH
   */
  refineConcepts(options: RefineConceptsOptions): Promise<Concept> {
    return runToEnd(this.startRefinement(options));
  }

  /** {@link findConcept} in pieces: run some steps, save the state, resume later, try several densities. */
  startSearch(options: FindConceptOptions): Promise<ConceptSearch> {
    return ConceptSearch.start(this.#session, options);
  }

  /** {@link refineConcepts} in pieces. */
  startRefinement(options: RefineConceptsOptions): Promise<ConceptSearch> {
    return ConceptSearch.startRefinement(this.#session, options);
  }

  /**
   * Text states `[B, T, D]` of prompts; identifiers of `concepts` become their rare tokens. Those of '' are the unconditional ones.
   * @throws ConesError CONES_OPTION_INVALID, CONES_CONCEPT_MISMATCH, CONES_OUT_OF_MEMORY, CONES_ABORTED,
   *   CONES_DISPOSED
   */
  encodePrompt(prompt: string | readonly string[], options: EncodePromptOptions = {}): Promise<EncodedPrompts> {
    return encodePrompt(this.#session, prompt, options);
  }

  /**
   * The autoencoder's posterior `[B, 2C, h, w]` (mean, log-variance; not scaled) of picture files, or of pixels
   * `[B, H, W, 3]` in [-1, 1].
   * @throws ConesError CONES_OPTION_INVALID, CONES_IMAGES_MISSING, CONES_IMAGE_INVALID, CONES_IO, CONES_OUT_OF_MEMORY, CONES_ABORTED,
   *   CONES_DISPOSED
   */
  encodeImage(images: readonly ImageInput[] | Pixels, options: EncodeImageOptions = {}): Promise<Moments> {
    return encodeImage(this.#session, images, options);
  }

  /**
   * Pictures `[B, H, W, 3]`, about [-1, 1], of latents `[B, C, h, w]` as the UNet has them.
   * @throws ConesError CONES_OPTION_INVALID, CONES_OUT_OF_MEMORY, CONES_ABORTED, CONES_DISPOSED
   */
  decode(latents: Latents, options: { signal?: AbortSignal } = {}): Promise<Float32Array> {
    return decode(this.#session, latents, options);
  }

  /**
   * The UNet's output `[B, C, h, w]` for noisy latents; `timesteps` has one entry per row, or one for all.
   * @throws ConesError CONES_OPTION_INVALID, CONES_CONCEPT_MISMATCH, CONES_OUT_OF_MEMORY, CONES_ABORTED, CONES_DISPOSED
   */
  denoise(latents: Latents, timesteps: readonly number[], embeddings: Embeddings, options: DenoiseOptions = {}): Promise<Float32Array> {
    return denoise(this.#session, latents, timesteps, embeddings, options);
  }

  /**
   * Loss and gradients with respect to K-V weights (Eq. 2–4), or to any weights of the UNet.
   * @throws ConesError CONES_OPTION_INVALID, CONES_CONCEPT_MISMATCH, CONES_OUT_OF_MEMORY, CONES_ABORTED, CONES_DISPOSED
   */
  conceptGradient(latents: Latents, timesteps: readonly number[], embeddings: Embeddings, options: GradientOptions): Promise<ConceptGradient> {
    return conceptGradient(this.#session, latents, timesteps, embeddings, options);
  }

  /**
   * Gradients of any loss L whose gradient at the UNet's output is given, `upstream` = ∂L/∂output `[B, C, h, w]`: a vector-Jacobian product.
   * @throws ConesError CONES_OPTION_INVALID, CONES_CONCEPT_MISMATCH, CONES_OUT_OF_MEMORY, CONES_ABORTED, CONES_DISPOSED
   */
  vjp(latents: Latents, timesteps: readonly number[], embeddings: Embeddings, upstream: Float32Array, options: VjpOptions = {}): Promise<Vjp> {
    return vjp(this.#session, latents, timesteps, embeddings, upstream, options);
  }

  /**
   * Timesteps, noise levels and ᾱ of a drawing, as {@link generate} would have them.
   * @throws ConesError CONES_OPTION_INVALID, CONES_CONFIG_UNSUPPORTED, CONES_DISPOSED
   */
  schedule(options: ScheduleOptions = {}): Schedule {
    return schedule(this.#session, options);
  }

  /**
   * Latents with noise for training timesteps, √ᾱ x + √(1 − ᾱ) ε; one timestep per row, or one for all.
   * @throws ConesError CONES_OPTION_INVALID, CONES_DISPOSED
   */
  addNoise(latents: Latents, noise: Float32Array, timesteps: readonly number[]): Latents {
    return noised(this.#session, 'addNoise', latents, noise, timesteps).noisy;
  }

  /** Identifies the base model in concept files. */
  get fingerprint(): string {
    return this.#session.fingerprint;
  }

  /** The searched weights: name and shape `[out, in]` of every K-V projection. */
  get kvTensors(): readonly { readonly name: string; readonly shape: readonly [number, number] }[] {
    return this.#session.kvTensors;
  }

  /** Where this engine computes: 'cpu', 'cuda:0'. */
  get device(): string {
    return this.#session.device;
  }

  /** Of its weights and activations: 'fp32', 'fp16' or 'bf16'. */
  get precision(): Precision {
    return this.#session.precision;
  }

  /** The processor's instruction set in use: 'avx512', 'avx2' or 'scalar'. */
  get instructionSet(): string {
    this.#session.assertUsable();
    return this.#session.model.isa;
  }

  /** The sampler of the model's own scheduler: what {@link generate} draws with unless another is chosen. */
  get sampler(): SamplerName {
    this.#session.assertUsable();
    return this.#session.config.scheduler.sampler;
  }

  /** What is worth knowing about this engine on this machine: 'slow-instruction-set', 'cpu-fallback', mostly nothing. */
  get warnings(): readonly Warning[] {
    return [...machineWarnings(this.instructionSet), ...this.#session.warnings, ...modelWarnings(this.#session.config)];
  }

  /** Bytes of weights and tensors, now and at most so far. Concepts' masks and JavaScript's own arrays are not among them. */
  memory(): MemoryUse {
    this.#session.assertUsable();
    return this.#session.model.memory();
  }

  /**
   * Gives the operating system the memory that is kept for the next job (`memory().cached`), once the jobs before have ended: for an
   * engine that will have nothing to do for long. The weights packed for gradients (`memory().forGradients`) go, too, unless a search is
   * under way or was not disposed of. The next job takes its time to get it again.
   * @throws ConesError CONES_DISPOSED
   */
  async trim(): Promise<void> {
    await this.#session.job(undefined, (abort) => this.#session.model.trim({ abort }));
  }

  /** What this engine has to do just now. */
  stats(): EngineStats {
    this.#session.assertUsable();
    const { admission, model } = this.#session;
    return { waiting: admission.waiting, running: admission.running, ...model.recentSteps(), memory: model.memory() };
  }

  /**
   * The memory that {@link generate} would need with these options, computed without drawing.
   * @throws ConesError CONES_OPTION_INVALID, CONES_DISPOSED
   */
  planGenerate(options: GeneratePlanOptions = {}): MemoryPlan {
    return planGenerate(this.#session, options);
  }

  /**
   * The memory that {@link findConcept} would need with these options, computed without searching.
   * @throws ConesError CONES_OPTION_INVALID, CONES_DISPOSED
   */
  planSearch(options: SearchPlanOptions = {}): MemoryPlan {
    return planSearch(this.#session, options);
  }

  /**
   * The memory that {@link refineConcepts} would need with these options, computed without searching.
   * @throws ConesError CONES_OPTION_INVALID, CONES_DISPOSED
   */
  planRefinement(options: RefinementPlanOptions = {}): MemoryPlan {
    return planRefinement(this.#session, options);
  }

  /** Aborts what is running and frees the weights. May be called more than once. */
  dispose(): Promise<void> {
    return this.#session.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}

async function runToEnd(starting: Promise<ConceptSearch>): Promise<Concept> {
  const search = await starting;
  try {
    await search.run();
    return await search.finish();
  } finally {
    search.dispose();
  }
}
