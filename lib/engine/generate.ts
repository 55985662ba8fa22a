import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { Concept, type Subject } from '../concept';
import { kindOf } from '../device';
import { ConesError } from '../errors';
import { GeneratedImage } from '../images/generated-image';
import { native } from '../native';
import { conceptOption, functionOption, parseOptions, promptOption, promptSyntaxOption, samplerOption, seedOption, signalOption } from '../util/options';
import { joinSubjects } from '../text/prompt';
import type { PromptSyntax } from '../text/prompt-syntax';
import type { SamplerName } from '../diffusion/sampler-names';
import { flattenSteps, noisedPicture, samplerSchedule, type SamplerSchedule, type SamplerStep } from '../diffusion/schedule';
import type { Warning } from '../warning';
import { type AdapterChoice, adaptersOption, adaptersPerPrompt, type ChosenAdapter, nativeAdapters } from './adapters';
import type { Admitted } from './admission';
import { fittingBatch } from './batch-size';
import { type Edit, editedRow, type EditedRow, editOf, type EditOptions, editOptions, joined, type Prepared, prepare } from './editing';
import { modelIsGuided } from './guidance';
import { type DrawnWith, metadataOf } from './picture-metadata';
import { givenInputs, type OwnRows, ownRows, ownStates } from './own-inputs';
import { chooseSolver } from './choose-solver';
import { type Decoder, decodeLatents, latentSize, nativeSize } from './pictures';
import { type Preview, previewMatrix, type Previews, smallPreviews, WholePreviews } from './preview';
import { FEATHER, picturesTogether, type PictureRow, type Placed, placeSubjects, REGION_PROMPTS, type RegionPrompt, type Regions, regionsOption, rowsOf } from './regions';
import type { Session } from './session';
import { allFinite, type Embeddings, embeddingsOption, type Latents, latentsOption, rowMask } from './tensors';
import { embeddingNormOption, withShortEmbeddings } from './word-norm';
import type { Size } from './windows';
import { chunksOf, encodeNegativePrompts, encodePrompts } from './text';
import { unnamedConcepts, unusedNegativePrompt } from './prompt-warnings';

export interface GenerateOptions extends EditOptions {
  /**
   * What to draw; identifiers such as `V1*` name the subjects of the concepts. A list draws several prompts in one call. Needed unless
   * there are `embeddings`.
   */
  readonly prompt?: string | readonly string[];
  /** Concepts whose neurons are shut: for all pictures, or one list per prompt when `prompt` is a list of the same length. */
  readonly concepts?: readonly Concept[] | readonly (readonly Concept[])[];
  /**
   * LoRAs, words of textual inversion and the like (`engine.loadAdapter`), each with a weight: for all pictures, or one list per prompt
   * when `prompt` is a list of the same length. A picture's concepts shut weights of the base model; what adapters add stays.
   */
  readonly adapters?: readonly AdapterChoice[] | readonly (readonly AdapterChoice[])[];
  /**
   * What to avoid (classifier-free guidance): for all pictures, or one text per prompt when `prompt` is a list of the same length.
   * Identifiers of the picture's concepts name their subjects, as in prompts. Default ''.
   */
  readonly negativePrompt?: string | readonly string[];
  /**
   * How both are read. 'weighted': as stable-diffusion-webui does, with `(word:1.3)`, `[word]`, BREAK and as many chunks of 75 tokens as it
   * takes. 'plain', the default: brackets are text, and what is longer than the text encoder reads is cut off, as in diffusers.
   */
  readonly promptSyntax?: PromptSyntax;
  /** Pictures per prompt, up to 4096, with seeds seed, seed + 1, …. Default 1. */
  readonly count?: number;
  /** Default: random; it is told in the result. The same seed is the same picture. */
  readonly seed?: number | bigint;
  /**
   * Solver: one of `SAMPLER_NAMES`, or as stable-diffusion-webui calls it, such as 'DPM++ 2M Karras' or 'Euler a'. Default: that of the
   * model's scheduler, `engine.sampler`. The paper's (App. B) is 'dpm-solver-multistep' (DPM-Solver++ 2M).
   */
  readonly sampler?: SamplerName | (string & {});
  /** Noise levels as Karras et al. 2022 space them; not for ddim, euler-ancestral, pndm, lcm and tcd. Default: what the scheduler's config says. */
  readonly useKarrasSigmas?: boolean;
  /** Steps, of one UNet evaluation each (heun and kdpm2: two), as many as the model's training timesteps allow (1 to 998 of 1000). Default 50, the paper's. */
  readonly steps?: number;
  /** Scale of classifier-free guidance, 0 … 1000; 1 and less turn it off, as in diffusers. Default 7.5, the paper's. */
  readonly guidance?: number;
  /** DDIM (default 0) and TCD (default 0.3) only: 0 is deterministic. */
  readonly eta?: number;
  /** Picture size in pixels, multiples of the autoencoder's factor (8). Default: the model's own. */
  readonly width?: number;
  readonly height?: number;
  /** Pictures per UNet call, fewer where the memory limit asks for it; more are drawn one batch after another. Default 4. */
  readonly batchSize?: number;
  /**
   * Where each subject is, by its identifier: inside only its own concept acts. Regions may overlap; outside of all of them acts no concept
   * that has a region. 'auto': side by side, as the prompt's words say. Each costs a row of the UNet (two with guidance). Default: all
   * concepts act everywhere.
   */
  readonly regions?: Regions;
  /** Width of the regions' soft edges as a fraction of the picture's width and height, 0 … 1. Default 0.1. */
  readonly feather?: number;
  /**
   * How a region is drawn: 'alone' as a picture of its own, from a prompt without the other regions' subjects, seeing nothing but the
   * region and a margin; 'own' sees the whole picture and a prompt without the identifiers of the others ("a V1* cat next to a
   * dog"), 'whole' the whole picture and prompt. Default 'alone'.
   */
  readonly regionPrompt?: RegionPrompt;
  /**
   * Learned embeddings of identifiers are scaled down to this length, as a multiple of the mean length of the vocabulary's. Default: they
   * are used as they are.
   */
  readonly embeddingNorm?: number;
  /**
   * Noise to start from in place of the seeds', `[pictures, C, h, w]`, of variance 1: diffusers' `latents`. Seeds then serve the noise of
   * DDIM's `eta` alone.
   */
  readonly latents?: Latents;
  /** Text states in place of `prompt`, `[prompts, T, D]` (from {@link Engine.encodePrompt}, say): diffusers' `prompt_embeds`. */
  readonly embeddings?: Embeddings;
  /** The same in place of `negativePrompt`, or one for all; as many tokens. */
  readonly negativeEmbeddings?: Embeddings;
  /** Which autoencoder makes pictures of the latents: the model's, or the one for drafts (`Engine.load`'s option `drafts`). Default 'own'. */
  readonly decoder?: Decoder;
  /** 'latents': pictures are not decoded, and the result has their latents instead. Default 'pictures'. */
  readonly output?: 'pictures' | 'latents';
  /** Called after every step of a batch with its latents. */
  readonly onLatents?: (step: StepLatents) => void;
  /** Called with a small picture of what each picture will be, every {@link previewEvery} steps and after the last. */
  readonly onPreview?: (preview: Preview) => void;
  /** Steps between two previews. Default 5. */
  readonly previewEvery?: number;
  /** Called after every step, and while the call waits whenever its place in the queue changes. */
  readonly onProgress?: (progress: GenerateProgress) => void;
  readonly signal?: AbortSignal;
}

/** A batch of pictures between two steps. */
export interface StepLatents {
  readonly step: number;
  readonly steps: number;
  /** Which of the result's pictures is the batch's first. */
  readonly first: number;
  /** As the solver has them, `[B, C, h, w]`. */
  readonly latents: Latents;
  /** What this step takes the finished latents for (x0, guidance included), the same shape. */
  readonly predicted: Latents;
}

export interface GenerateProgress {
  /** Solver steps done over all batches, and in all. */
  readonly step: number;
  readonly steps: number;
  /** Estimated milliseconds to the end; Infinity where no step was taken yet. */
  readonly remainingMs: number;
  /** The call has to wait: its place in the queue, 1 being the next. Told when it changes. Absent once a step was taken. */
  readonly queued?: number;
}

export interface GenerateResult {
  /** Prompt by prompt, `count` each; none with `output: 'latents'`. */
  readonly images: readonly GeneratedImage[];
  /** With `output: 'latents'`: of all pictures, `[B, C, h, w]`, as {@link Engine.decode} takes them. */
  readonly latents?: Latents;
  readonly warnings: readonly Warning[];
}

const schema = z.strictObject({
  prompt: promptOption.optional(),
  concepts: z.union([z.array(conceptOption), z.array(z.array(conceptOption))], 'must be a list of concepts, or one such list per prompt').default([]),
  adapters: adaptersOption,
  negativePrompt: z.union([z.string(), z.array(z.string()).max(4096)], 'must be a text, or a list with a text per prompt').default(''),
  promptSyntax: promptSyntaxOption,
  count: z.int().min(1).max(4096).default(1),
  seed: seedOption.optional(),
  sampler: samplerOption.optional(),
  useKarrasSigmas: z.boolean().optional(),
  steps: z.int().min(1).max(1000).default(50),
  guidance: z.number().min(0).max(1000).default(7.5),
  eta: z.number().min(0).max(1).optional(),
  width: z.int().min(1).optional(),
  height: z.int().min(1).optional(),
  batchSize: z.int().min(1).max(1024).default(4),
  ...editOptions,
  regions: regionsOption.optional(),
  feather: z.number().min(0).max(1).default(FEATHER),
  regionPrompt: z.enum(REGION_PROMPTS).default('alone'),
  embeddingNorm: embeddingNormOption,
  latents: latentsOption.optional(),
  embeddings: embeddingsOption.optional(),
  negativeEmbeddings: embeddingsOption.optional(),
  decoder: z.enum(['own', 'drafts']).default('own'),
  output: z.enum(['pictures', 'latents']).default('pictures'),
  onLatents: functionOption<(step: StepLatents) => void>(),
  onPreview: functionOption<(preview: Preview) => void>(),
  previewEvery: z.int().min(1).max(1000).default(5),
  onProgress: functionOption<(progress: GenerateProgress) => void>(),
  signal: signalOption,
});

type Settings = Omit<z.output<typeof schema>, 'sampler'> & { readonly sampler: SamplerName };

/** All are in memory when the call ends. */
const MOST_PICTURES = 2 ** 16;

/** One picture to draw. */
interface Job {
  readonly prompt: string;
  readonly negativePrompt: string;
  readonly concepts: readonly Concept[];
  /** Default: none. */
  readonly adapters?: readonly ChosenAdapter[];
  readonly seed: bigint;
  /** None: the picture is one row. */
  readonly rows?: readonly PictureRow[];
  readonly placed?: Placed;
  /** In place of what prompt and seed make. */
  readonly own?: OwnRows;
  /** What it is drawn from besides, and what its file says of that. */
  readonly edited?: EditedRow;
  readonly hashes?: Prepared['hashes'];
  /** Of the text states, which all pictures of a batch have as many of. Default 1. */
  readonly chunks?: number;
}

/**
 * Draws pictures (paper §4.1: DPM-Solver, 50 steps, guidance 7.5). Noise depends only on the seed, so a picture does not
 * depend on what else is drawn with it.
 * @throws ConesError CONES_OPTION_INVALID, CONES_PROMPT_EMPTY, CONES_CONCEPT_MISMATCH, CONES_ADAPTER_MISMATCH, CONES_DISPOSED,
 *   CONES_LOSS_NOT_FINITE, CONES_OUT_OF_MEMORY, CONES_ABORTED, CONES_LIMIT_EXCEEDED
 * @param admitted whose limits count, and who hears of the beginning; without it the engine draws for itself
 */
export async function generate(session: Session, options: GenerateOptions, admitted?: Admitted): Promise<GenerateResult> {
  const settings = chooseSolver('generate', parseOptions('generate', schema, options), session);
  session.assertUsable();
  session.assertPathsAllowed('generate', { image: settings.image, mask: settings.mask, depth: settings.depth });
  const usual = nativeSize(session);
  const size = { height: settings.height ?? usual.height, width: settings.width ?? usual.width };
  const latent = latentSize(session, size.height, size.width);
  const prompts = promptsOf(settings);
  const count = prompts.length * settings.count;
  if (count > MOST_PICTURES) {
    throw new ConesError('CONES_OPTION_INVALID', `generate: ${count} pictures are too many for one call; draw up to ${MOST_PICTURES} in each.`);
  }
  admitted?.check({ size: Math.max(size.width, size.height), steps: settings.steps, count });
  // Copied before anybody can write to them.
  const own = ownRows(session, settings, { prompts: prompts.length, count: settings.count, latent });
  const edit = editOf(session, settings, prompts.length);
  const guided = modelIsGuided(session.config, { guidance: settings.guidance, imageGuidance: edit?.imageGuidance });
  const chunks = chunksOfJobs(session, settings, guided);
  const jobs = listJobs(session, { ...settings, multiple: 2 ** (session.config.unet.blockOutChannels.length - 1) }, prompts, latent).map((job, i): Job => ({ ...job, own: own(i), chunks: chunks(job) }));
  const regions = jobs.reduce((most, { rows }) => Math.max(most, rows?.length ?? 1), 1);
  const window = jobs.reduce(
    ({ height, width }, { rows }) => {
      const seen = rows?.[0]!.window ?? latent;
      return { height: Math.max(height, seen.height), width: Math.max(width, seen.width) };
    },
    { height: 1, width: 1 },
  );
  const most = Math.min(count, settings.batchSize, picturesTogether(guided, regions));
  const decoded = settings.output === 'pictures';
  const { decoder } = settings;
  if (decoder === 'drafts' && !session.config.drafts) throw new ConesError('CONES_OPTION_INVALID', "generate: the option decoder: 'drafts' needs an engine with an autoencoder for drafts: Engine.load(model, { drafts: folder }).");
  const whole = settings.onPreview && session.config.drafts ? new WholePreviews(session, settings.onPreview, settings.signal) : undefined;
  const matrix = settings.onPreview && !whole ? await previewMatrix(session, settings.signal) : undefined;
  const tokens = settings.embeddings?.shape[1] ?? session.tokenizer.maxLength * jobs.reduce((longest, job) => Math.max(longest, job.chunks ?? 1), 1);
  const adapters = jobs.flatMap((job) => job.adapters ?? []);
  const batchSize = await fittingBatch(session, { most, guided, regions, latent, window, decoded, decoder, previewed: whole !== undefined, edit, tokens, adapters }, settings.signal);
  const warnings: Warning[] = guided ? [] : unusedNegativePrompt(settings.guidance, jobs);
  const named: (readonly Subject[])[] = [];
  const images: GeneratedImage[] = [];
  const drawn: Float32Array[] = [];

  const batches = inBatches(jobs, batchSize);
  const prepared = edit && onceInARow((prompt) => edit.of(prompt), (prompt) => prepare(session, edit, prompt, { size, latent }, settings.signal));
  const evaluations = samplerSchedule(settings.sampler, session.config.scheduler, { ...settings, start: edit?.start }).steps.length;
  const progress = progressReporter({ ...settings, steps: evaluations }, batches.length, admitted);
  let first = 0;
  const drawnWith: DrawnWith = {
    ...settings,
    ...size,
    model: session.fingerprint,
    instructionSet: session.model.isa,
    device: kindOf(session.device),
    precision: session.precision,
    karras: settings.useKarrasSigmas ?? session.config.scheduler.useKarrasSigmas,
    given: givenInputs(settings),
    ...(edit ? { strength: edit.strength, imageGuidance: edit.imageGuidance, posterior: edit.posterior } : {}),
  };
  for (const plain of batches) {
    const batch = edit && prepared ? await withInputs(session, edit, plain, (i) => prepared(Math.floor((first + i) / settings.count))) : plain;
    const { latents, ...found } = await drawLatents(session, { ...settings, edit, latentsEvery: latentsEvery(settings) }, batch, latent, stepReporter({ ...settings, steps: evaluations }, progress, { first, preview: whole ?? (matrix && smallPreviews(matrix, settings.onPreview!)) }));
    await whole?.shown();
    first += batch.length;
    for (const warning of found.warnings) {
      if (!warnings.some(({ message }) => message === warning.message)) warnings.push(warning);
    }
    named.push(...found.named);
    if (!decoded) {
      drawn.push(latents.data);
      continue;
    }
    const pixels = await decodeLatents(session, latents, settings.signal, decoder);
    if (!allFinite(pixels)) {
      const wider = session.precision === 'fp16' ? "load the model with precision 'bf16', whose range is wider than fp16's, " : '';
      throw new ConesError('CONES_LOSS_NOT_FINITE', `The picture's values are not finite: ${wider}lower the guidance, or check the model's weights.`);
    }
    const pixelCount = size.height * size.width * 3;
    batch.forEach((job, i) => {
      const data = pixels.subarray(i * pixelCount, (i + 1) * pixelCount);
      images.push(GeneratedImage.fromPixels(data, size.width, size.height, metadataOf(drawnWith, job)));
    });
  }
  // Text states name nobody, whatever they say.
  if (!settings.embeddings) warnings.push(...unnamedConcepts(jobs.map((job, i) => ({ ...job, named: named[i]! }))));
  return decoded ? { images, warnings } : { images, warnings, latents: joinLatents(drawn, session.config.vae.latentChannels, latent) };
}

/** @throws ConesError CONES_OPTION_INVALID unless there is either a prompt or text states */
function promptsOf({ prompt, embeddings, negativePrompt, negativeEmbeddings, regions }: Settings): readonly string[] {
  if ((prompt === undefined) === (embeddings === undefined)) {
    throw new ConesError('CONES_OPTION_INVALID', `generate: the option prompt ${prompt === undefined ? 'is missing' : 'does not go with embeddings'}: give one of the two.`);
  }
  if (negativeEmbeddings && negativePrompt.length > 0) {
    throw new ConesError('CONES_OPTION_INVALID', 'generate: the option negativePrompt does not go with negativeEmbeddings: give one of the two.');
  }
  if (regions && (embeddings || negativeEmbeddings)) {
    throw new ConesError('CONES_OPTION_INVALID', 'generate: the option regions does not go with embeddings: each region has a text of its own, which is made from the prompt.');
  }
  return prompt === undefined ? Array.from({ length: embeddings!.shape[0] }, () => '') : [prompt].flat();
}

/** How many chunks of text states a picture has; asked of one after the other, those of one prompt are read once. */
function chunksOfJobs(session: Session, { promptSyntax: syntax, embeddings }: Settings, guided: boolean): (job: Job) => number {
  const { maxLength } = session.tokenizer;
  if (embeddings) return () => Math.max(1, Math.floor(embeddings.shape[1] / maxLength));
  let last: { readonly job: Job; readonly chunks: number } | undefined;
  return (job) => {
    const same = last?.job.prompt === job.prompt && last.job.negativePrompt === job.negativePrompt && last.job.concepts === job.concepts && last.job.adapters === job.adapters;
    if (!same) last = { job, chunks: chunksOf(session, guided ? job : { ...job, negativePrompt: undefined }, { syntax }) };
    return last!.chunks;
  };
}

function joinLatents(parts: readonly Float32Array[], channels: number, { height, width }: { height: number; width: number }): Latents {
  const data = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    data.set(part, at);
    at += part.length;
  }
  return { data, shape: [data.length / (channels * height * width), channels, height, width] };
}

/** The result of the call before, where it was asked of the very same things. */
function onceInARow<T>(of: (prompt: number) => object, make: (prompt: number) => Promise<T>): (prompt: number) => Promise<T> {
  let last: { readonly things: readonly unknown[]; readonly made: Promise<T> } | undefined;
  return (prompt) => {
    const things: readonly unknown[] = Object.values(of(prompt));
    if (!last || last.things.some((thing, i) => thing !== things[i])) last = { things, made: make(prompt) };
    return last.made;
  };
}

async function withInputs(session: Session, edit: Edit, batch: readonly Job[], prepared: (picture: number) => Promise<Prepared>): Promise<Job[]> {
  const jobs: Job[] = [];
  for (const [i, job] of batch.entries()) {
    const inputs = await prepared(i);
    jobs.push({ ...job, edited: editedRow(session, edit, inputs, job.seed), hashes: inputs.hashes });
  }
  return jobs;
}

function latentsEvery({ onLatents, onPreview, previewEvery }: Settings): number {
  if (onLatents) return 1;
  return onPreview ? previewEvery : 0;
}

/** The x0 of a step's prediction, which of some solvers is something else. */
function cleanPicture({ cleanAfter }: SamplerStep, latents: Float32Array, prediction: Float32Array): Float32Array {
  return cleanAfter === undefined ? prediction : prediction.map((value, i) => cleanAfter.x * latents[i]! + cleanAfter.prediction * value);
}

/** `place`: among those who wait; then `step` is 0. */
type OnStep = (step: number, place?: number, latents?: Latents, predicted?: Latents) => void;

/** Tells of a step of the batch that begins with picture `first`. */
function stepReporter({ steps, onLatents, previewEvery }: Settings, progress: (taken: number, place?: number) => void, batch: { first: number; preview: Previews | undefined }): OnStep {
  const { first, preview } = batch;
  if (!onLatents && !preview) return progress;
  return (step, place, latents, predicted) => {
    progress(step, place);
    if (!latents || !predicted) return;
    onLatents?.({ step, steps, first, latents, predicted });
    if (!preview || (step % previewEvery !== 0 && step !== steps)) return;
    const [pictures, , height, width] = predicted.shape;
    const size = predicted.data.length / pictures;
    for (let i = 0; i < pictures; i++) {
      preview.show({ step, steps, index: first + i }, predicted.data.subarray(i * size, (i + 1) * size), { width, height });
    }
  };
}

/** Final latents of pictures, as the UNet has them; also the way in which prior pictures are drawn. */
export async function drawLatents(
  session: Session,
  settings: Pick<Settings, 'sampler' | 'steps' | 'guidance' | 'eta' | 'useKarrasSigmas' | 'signal'> & { readonly latentsEvery?: number; readonly embeddingNorm?: number; readonly promptSyntax?: PromptSyntax; readonly edit?: Edit | undefined },
  jobs: readonly Job[],
  latent: { height: number; width: number },
  onStep?: OnStep,
) {
  const { signal, latentsEvery = 0, edit } = settings;
  const schedule = samplerSchedule(settings.sampler, session.config.scheduler, { ...settings, start: edit?.start });
  const { latentChannels } = session.config.vae;
  const size = latentChannels * latent.height * latent.width;

  const noise = joined(...jobs.map(({ seed, own }) => own?.latents ?? native().randomNormal(seed, 0, size)));
  const pictures = edit && joined(...jobs.map(({ edited }) => edited!.image));
  const latents = startingLatents(settings.sampler, schedule, noise, edit?.begins ? pictures : undefined);

  const rows = jobs.flatMap((job): readonly PictureRow[] => job.rows ?? [{ ...job, subjects: joinSubjects(job.concepts) }]);
  const regions = rows.length / jobs.length;
  const short = await withShortEmbeddings(session, settings.embeddingNorm, signal);
  const subjects = rows.map((row) => row.subjects.map(short));
  const ownText = (name: 'embeddings' | 'negativeEmbeddings') => {
    const states = ownStates(jobs.map(({ own }) => own?.[name]), session.config.unet.crossAttentionDim);
    return states && { ...states, warnings: [], named: jobs.map(() => []) };
  };
  const adapters = jobs.flatMap((job) => Array.from({ length: job.rows?.length ?? 1 }, () => job.adapters ?? []));
  const reading = { syntax: settings.promptSyntax ?? 'plain', chunks: jobs[0]?.chunks, adapters };
  const text = ownText('embeddings') ?? (await encodePrompts(session, rows.map((row) => row.prompt), subjects, signal, reading));
  const guided = modelIsGuided(session.config, { guidance: settings.guidance, imageGuidance: edit?.imageGuidance });
  const negative = guided
    ? (ownText('negativeEmbeddings') ?? (await encodeNegativePrompts(session, rows.map((row) => row.negativePrompt), subjects, signal, reading)))
    : undefined;
  if (negative && negative.shape[1] !== text.shape[1]) {
    throw new ConesError('CONES_OPTION_INVALID', `generate: the prompt has ${text.shape[1]} text states, the negative one ${negative.shape[1]}: give as many of both.`);
  }
  const masks = await Promise.all(rows.map((row) => rowMask(session, row.concepts)));
  const changing = jobs.map((job) => nativeAdapters(session, job.adapters ?? []) ?? null);

  const tensor = (data: Float32Array): Latents => ({ data, shape: [jobs.length, latentChannels, latent.height, latent.width] });
  const data = await session.job(signal, (abort, guard) =>
    session.model.sample({
      latents,
      batch: jobs.length,
      ...latent,
      ...(regions > 1 ? { regions, weights: weightsOf(rows, latent), windows: windowsOf(rows.slice(0, regions), latent) } : {}),
      embeddings: text.data,
      ...(negative ? { negativeEmbeddings: negative.data } : {}),
      tokens: text.shape[1],
      guidance: settings.guidance,
      steps: flattenSteps(schedule.steps),
      seeds: BigUint64Array.from(jobs.map((job) => job.seed)),
      ...(masks.some((mask) => mask !== null) ? { masks } : {}),
      ...(jobs[0]!.edited?.conditions ? { conditions: joined(...jobs.map(({ edited }) => edited!.conditions!)) } : {}),
      ...(guided && edit?.imageGuidance !== undefined ? { imageGuidance: edit.imageGuidance } : {}),
      ...(edit?.known ? { known: { image: pictures!, noise, mask: joined(...jobs.map(({ edited }) => edited!.mask!)), shares: knownShares(settings.sampler, schedule) } } : {}),
      ...(changing.some((own) => own !== null) ? { adapters: changing } : {}),
      latentsEvery,
      ...(onStep ? { onStep: guard((step: number, place?: number, now?: Float32Array, predicted?: Float32Array) => onStep(step, place, now && tensor(now), predicted && tensor(cleanPicture(schedule.steps[step - 1]!, now!, predicted)))) } : {}),
      abort,
    }),
  );
  return {
    latents: tensor(data),
    warnings: [...text.warnings, ...(negative?.warnings ?? [])],
    named: jobs.map((_, job) => {
      const own = text.named.slice(job * regions, (job + 1) * regions);
      return [...own, ...(negative?.named.slice(job * regions, (job + 1) * regions) ?? [])].flat();
    }),
  };
}

/** Noise as the sampler begins with it, or a picture with as much of it as the first step expects. */
function startingLatents(sampler: SamplerName, { initialNoiseScale, sigmas }: SamplerSchedule, noise: Float32Array, pictures: Float32Array | undefined): Float32Array {
  if (!pictures) return initialNoiseScale === 1 ? noise : noise.map((value) => value * initialNoiseScale);
  const mix = noisedPicture(sampler, sigmas[0]!);
  return noise.map((value, i) => mix.image * pictures[i]! + mix.noise * value);
}

/** What latents after each step have of the picture that is kept, and of the noise; after the last, the picture alone. */
function knownShares(sampler: SamplerName, { steps, sigmas }: SamplerSchedule): Float64Array {
  return Float64Array.from(
    steps.flatMap((_, i) => {
      const { image, noise } = i + 1 < steps.length ? noisedPicture(sampler, sigmas[i + 1]!) : { image: 1, noise: 0 };
      return [image, noise];
    }),
  );
}

/** Of up to `most` pictures each, in their order, with as many text states and the same windows: no picture has more because of another. */
function inBatches(jobs: readonly Job[], most: number): Job[][] {
  const batches: Job[][] = [];
  const windows = ({ rows }: Job) => rows?.map(({ window }) => window);
  const alike = (a: Job, b: Job) => a.chunks === b.chunks && isDeepStrictEqual(windows(a), windows(b));
  for (const job of jobs) {
    const last = batches.at(-1);
    if (last && last.length < most && alike(last[0]!, job)) last.push(job);
    else batches.push([job]);
  }
  return batches;
}

/** `[rows, h, w]` */
function weightsOf(rows: readonly PictureRow[], { height, width }: { height: number; width: number }): Float32Array {
  const weights = new Float32Array(rows.length * height * width);
  rows.forEach((row, i) => weights.set(row.weights!, i * height * width));
  return weights;
}

/** The rows' windows: height and width, then top and left of each. */
function windowsOf(rows: readonly PictureRow[], latent: Size): Int32Array {
  const windows = rows.map(({ window }) => window ?? { top: 0, left: 0, ...latent });
  return Int32Array.of(windows[0]!.height, windows[0]!.width, ...windows.flatMap(({ top, left }) => [top, left]));
}

function listJobs(session: Session, settings: Settings & { readonly multiple: number }, prompts: readonly string[], latent: { height: number; width: number }): Job[] {
  const adapters = adaptersPerPrompt(session, settings.adapters, prompts.length);
  const concepts = conceptsPerPrompt(settings.concepts, prompts.length);
  const negativePrompts = negativePerPrompt(settings.negativePrompt, prompts.length);
  const seed = BigInt(settings.seed ?? Math.floor(Math.random() * 2 ** 32));
  return prompts.flatMap((prompt, i) => {
    const drawn = { prompt, negativePrompt: negativePrompts[i]!, concepts: concepts[i]!, adapters: adapters[i]! };
    const placed = placeSubjects(settings.regions, drawn, latent);
    const rows = placed.size > 0 ? { placed, rows: rowsOf(drawn, placed, settings, latent) } : {};
    return Array.from({ length: settings.count }, (_, j) => ({ ...drawn, ...rows, seed: BigInt.asUintN(64, seed + BigInt(j)) }));
  });
}

function conceptsPerPrompt(concepts: Settings['concepts'], prompts: number): (readonly Concept[])[] {
  if (concepts.every((entry) => entry instanceof Concept)) return Array.from({ length: prompts }, () => concepts as Concept[]);
  if (concepts.length !== prompts) {
    throw new ConesError('CONES_OPTION_INVALID', `concepts has ${concepts.length} lists for ${prompts} prompts; give one list per prompt.`);
  }
  return concepts as Concept[][];
}

function negativePerPrompt(negative: Settings['negativePrompt'], prompts: number): string[] {
  if (typeof negative === 'string') return Array.from({ length: prompts }, () => negative);
  if (negative.length !== prompts) {
    throw new ConesError('CONES_OPTION_INVALID', `generate: the option negativePrompt has ${negative.length} texts for ${prompts} prompts; give one for all, or one per prompt.`);
  }
  return negative;
}

function progressReporter({ steps, onProgress }: Settings, batches: number, admitted: Admitted | undefined): (taken: number, place?: number) => void {
  const total = steps * batches;
  let start = performance.now();
  let step = 0;
  return (_taken, place) => {
    if (place !== undefined) {
      // Between two batches nobody need know.
      if (step === 0) onProgress?.({ step, steps: total, remainingMs: Infinity, queued: place });
      start = step === 0 ? performance.now() : start;
      return;
    }
    admitted?.begun();
    step++;
    onProgress?.({ step, steps: total, remainingMs: ((performance.now() - start) / step) * (total - step) });
  };
}
