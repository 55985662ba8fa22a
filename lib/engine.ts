import os from 'node:os';
import { z } from 'zod';
import type { Concept } from './concept';
import { defaultMemoryLimit } from './default-memory-limit';
import { machineWarnings } from './engine/machine-warnings';
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
import { Session } from './engine/session';
import {
  conceptGradient,
  denoise,
  type ConceptGradient,
  type DenoiseOptions,
  type Embeddings,
  type GradientOptions,
  type Latents,
} from './engine/tensors';
import type { FindConceptOptions } from './find-concept/options';
import type { RefineConceptsOptions } from './find-concept/refine-options';
import { ConceptSearch } from './find-concept/search';
import type { ImageInput } from './images';
import { loadWithin } from './loading-memory';
import { loadModelConfig } from './model-config';
import { fromNative, native } from './native';
import { parseOptions } from './options';
import { readRareTokens } from './prompt';
import { Tokenizer } from './tokenizer';
import type { Warning } from './warning';

export interface EngineOptions {
  /** Where to compute. 'auto' takes the fastest device there is; this version has the CPU. Default 'auto'. */
  readonly device?: 'auto' | 'cpu';
  /** Threads of this engine's pool. Default: as many as the process may use. */
  readonly threads?: number;
  /**
   * Bytes that weights and activations may take together; a job that needs more is refused before it starts
   * (CONES_OUT_OF_MEMORY). Default: 90 % of the machine's or the container's memory.
   */
  readonly memoryLimit?: number;
  /**
   * Whether pictures, CLIP pairs and caches may be given as paths. False: texts that come from outside (the JSON body of a request)
   * make the engine read or write no files; pictures are bytes then. Default true.
   */
  readonly allowPaths?: boolean;
}

/** Memory of an engine in bytes. */
export interface MemoryUse {
  /** The packed weights. */
  readonly weights: number;
  /** Weights and everything else that is held now. */
  readonly inUse: number;
  /** The most that was held at once. */
  readonly peak: number;
  readonly limit: number;
}

const engineOptions = z.strictObject({
  device: z.enum(['auto', 'cpu']).default('auto'),
  threads: z.int().min(1).max(1024).optional(),
  memoryLimit: z.number().int().min(1).max(Number.MAX_SAFE_INTEGER).optional(),
  allowPaths: z.boolean().default(true),
});

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
   * Loads a model folder in diffusers layout (Stable Diffusion 1.x or 2.x-base, or models/mini).
   * @throws ConesError CONES_MODEL_NOT_FOUND, CONES_CONFIG_INVALID, CONES_CONFIG_UNSUPPORTED, CONES_SAFETENSORS_INVALID,
   *   CONES_TENSOR_MISSING, CONES_TENSOR_SHAPE, CONES_TENSOR_UNEXPECTED, CONES_OUT_OF_MEMORY, CONES_NATIVE_MISSING, CONES_IO,
   *   CONES_OPTION_INVALID
   */
  static async load(folder: string, options: EngineOptions = {}): Promise<Engine> {
    const settings = parseOptions('Engine.load', engineOptions, options);
    const addon = native();
    const config = await loadModelConfig(folder);
    const [tokenizer, rareTokens] = await Promise.all([
      Tokenizer.load(config.tokenizerFolder, { maxPositions: config.text.maxPositions, vocabSize: config.text.vocabSize }),
      readRareTokens(config.folder),
    ]);
    const threads = settings.threads ?? os.availableParallelism();
    const { unet, text, vae } = config;
    const model = await loadWithin(settings.memoryLimit ?? defaultMemoryLimit(), [unet, text, vae].flatMap(({ files }) => files), (memoryLimit) =>
      addon.loadModel({ unet, text, vae, threads, memoryLimit }),
    );
    const { allowPaths } = settings;
    return new Engine(await fromNative(() => Session.open({ model, config, tokenizer, rareTokens, threads, allowPaths })));
  }

  /**
   * Draws pictures. Await the result, or iterate over the steps first.
   * @throws ConesError CONES_OPTION_INVALID, CONES_PROMPT_EMPTY, CONES_CONCEPT_MISMATCH, CONES_CONFIG_UNSUPPORTED (the sampler cannot do
   *   what the model's scheduler config asks for), CONES_LOSS_NOT_FINITE, CONES_OUT_OF_MEMORY, CONES_ABORTED, CONES_DISPOSED
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
   * Text states `[B, T, D]` of prompts; identifiers of `concepts` become their rare tokens.
   * @throws ConesError CONES_OPTION_INVALID, CONES_PROMPT_EMPTY, CONES_CONCEPT_MISMATCH, CONES_OUT_OF_MEMORY, CONES_ABORTED,
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

  /** Identifies the base model in concept files. */
  get fingerprint(): string {
    return this.#session.fingerprint;
  }

  /** The searched weights: name and shape `[out, in]` of every K-V projection. */
  get kvTensors(): readonly { readonly name: string; readonly shape: readonly [number, number] }[] {
    return this.#session.kvTensors;
  }

  /** Instruction set in use: 'avx512', 'avx2' or 'scalar'. */
  get instructionSet(): string {
    this.#session.assertUsable();
    return this.#session.model.isa;
  }

  /** What is worth knowing about this engine on this machine: 'slow-instruction-set', or nothing. */
  get warnings(): readonly Warning[] {
    return machineWarnings(this.instructionSet);
  }

  /** Bytes of weights and tensors, now and at most so far. Concepts' masks and JavaScript's own arrays are not among them. */
  memory(): MemoryUse {
    this.#session.assertUsable();
    return this.#session.model.memory();
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
