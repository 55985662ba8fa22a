import { z } from 'zod';
import { Concept, type Subject } from '../concept';
import { kindOf } from '../device';
import { ConesError } from '../errors';
import { GeneratedImage } from '../images/generated-image';
import { native } from '../native';
import { conceptOption, functionOption, parseOptions, promptOption, seedOption, signalOption } from '../util/options';
import { joinSubjects } from '../text/prompt';
import { flattenSteps, SAMPLER_NAMES, type SamplerName, samplerSchedule } from '../diffusion/schedule';
import type { Warning } from '../warning';
import { fittingBatch } from './batch-size';
import { isGuided } from './guidance';
import { type DrawnWith, metadataOf } from './picture-metadata';
import { decodeLatents, latentSize, nativeSize } from './pictures';
import { FEATHER, MOST_ROWS, type PictureRow, type Placed, placeSubjects, type Regions, regionsOption, rowsOf } from './regions';
import type { Session } from './session';
import { embeddingNormOption, withShortEmbeddings } from './word-norm';
import { allFinite, rowMask } from './tensors';
import { encodeNegativePrompts, encodePrompts } from './text';
import { unnamedConcepts, unusedNegativePrompt } from './prompt-warnings';

export interface GenerateOptions {
  /** What to draw; identifiers such as `V1*` name the subjects of the concepts. A list draws several prompts in one call. */
  readonly prompt: string | readonly string[];
  /** Concepts whose neurons are shut: for all pictures, or one list per prompt when `prompt` is a list of the same length. */
  readonly concepts?: readonly Concept[] | readonly (readonly Concept[])[];
  /**
   * What to avoid (classifier-free guidance): for all pictures, or one text per prompt when `prompt` is a list of the same length.
   * Identifiers of the picture's concepts name their subjects, as in prompts. Default ''.
   */
  readonly negativePrompt?: string | readonly string[];
  /** Pictures per prompt, up to 4096, with seeds seed, seed + 1, …. Default 1. */
  readonly count?: number;
  /** Default: random; it is told in the result. The same seed is the same picture. */
  readonly seed?: number | bigint;
  /** Solver. Default 'dpm-solver-multistep' (DPM-Solver++ 2M), the paper's (App. B). */
  readonly sampler?: SamplerName;
  /** UNet evaluations, as many as the model's training timesteps allow (1 to 998 of 1000). Default 50, the paper's. */
  readonly steps?: number;
  /** Scale of classifier-free guidance, 0 … 1000; 1 and less turn it off, as in diffusers. Default 7.5, the paper's. */
  readonly guidance?: number;
  /** DDIM only: 0 is deterministic. Default 0. */
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
   * The prompt that a region's row sees: 'own' is without the identifiers of the other regions' subjects ("a V1* cat next to a dog"),
   * 'whole' is the whole prompt. Default 'own'.
   */
  readonly regionPrompt?: 'own' | 'whole';
  /**
   * Learned embeddings of identifiers are scaled down to this length, as a multiple of the mean length of the vocabulary's. Default: they
   * are used as they are.
   */
  readonly embeddingNorm?: number;
  /** Called after every step. */
  readonly onProgress?: (progress: GenerateProgress) => void;
  readonly signal?: AbortSignal;
}

export interface GenerateProgress {
  /** Solver steps done over all batches, and in all. */
  readonly step: number;
  readonly steps: number;
  /** Estimated milliseconds to the end. */
  readonly remainingMs: number;
}

export interface GenerateResult {
  /** Prompt by prompt, `count` each. */
  readonly images: readonly GeneratedImage[];
  readonly warnings: readonly Warning[];
}

const schema = z.strictObject({
  prompt: promptOption,
  concepts: z.union([z.array(conceptOption), z.array(z.array(conceptOption))], 'must be a list of concepts, or one such list per prompt').default([]),
  negativePrompt: z.union([z.string(), z.array(z.string()).max(4096)], 'must be a text, or a list with a text per prompt').default(''),
  count: z.int().min(1).max(4096).default(1),
  seed: seedOption.optional(),
  sampler: z.enum(SAMPLER_NAMES as [SamplerName, ...SamplerName[]]).default('dpm-solver-multistep'),
  steps: z.int().min(1).max(1000).default(50),
  guidance: z.number().min(0).max(1000).default(7.5),
  eta: z.number().min(0).max(1).optional(),
  width: z.int().min(1).optional(),
  height: z.int().min(1).optional(),
  batchSize: z.int().min(1).max(1024).default(4),
  regions: regionsOption.optional(),
  feather: z.number().min(0).max(1).default(FEATHER),
  regionPrompt: z.enum(['own', 'whole']).default('own'),
  embeddingNorm: embeddingNormOption,
  onProgress: functionOption<(progress: GenerateProgress) => void>(),
  signal: signalOption,
});

type Settings = z.output<typeof schema>;

/** All are in memory when the call ends. */
const MOST_PICTURES = 2 ** 16;

/** One picture to draw. */
interface Job {
  readonly prompt: string;
  readonly negativePrompt: string;
  readonly concepts: readonly Concept[];
  readonly seed: bigint;
  /** None: the picture is one row. */
  readonly rows?: readonly PictureRow[];
  readonly placed?: Placed;
}

/**
 * Draws pictures (paper §4.1: DPM-Solver, 50 steps, guidance 7.5). Noise depends only on the seed, so a picture does not
 * depend on what else is drawn with it.
 * @throws ConesError CONES_OPTION_INVALID, CONES_PROMPT_EMPTY, CONES_CONCEPT_MISMATCH, CONES_LOSS_NOT_FINITE, CONES_OUT_OF_MEMORY,
 *   CONES_ABORTED
 */
export async function generate(session: Session, options: GenerateOptions): Promise<GenerateResult> {
  const settings = parseOptions('generate', schema, options);
  if (settings.eta !== undefined && settings.sampler !== 'ddim') {
    throw new ConesError('CONES_OPTION_INVALID', `generate: the option eta is for the sampler "ddim", not for "${settings.sampler}"; leave it out.`);
  }
  session.assertUsable();
  const own = nativeSize(session);
  const size = { height: settings.height ?? own.height, width: settings.width ?? own.width };
  const latent = latentSize(session, size.height, size.width);
  const count = [settings.prompt].flat().length * settings.count;
  if (count > MOST_PICTURES) {
    throw new ConesError('CONES_OPTION_INVALID', `generate: ${count} pictures are too many for one call; draw up to ${MOST_PICTURES} in each.`);
  }
  const jobs = listJobs(settings, latent);
  const regions = jobs.reduce((most, { rows }) => Math.max(most, rows?.length ?? 1), 1);
  const guided = isGuided(settings.guidance);
  // Several regions are several pictures to the UNet, of which more at once gain nothing.
  const together = regions === 1 ? settings.batchSize : Math.max(Math.floor(MOST_ROWS / ((guided ? 2 : 1) * regions)), 1);
  const most = Math.min(count, settings.batchSize, together);
  const batchSize = await fittingBatch(session, { most, guided, regions, latent, decoded: true }, settings.signal);
  const warnings: Warning[] = unusedNegativePrompt(settings.guidance, jobs);
  const named: (readonly Subject[])[] = [];
  const images: GeneratedImage[] = [];

  const batches = inBatches(jobs, batchSize);
  const progress = progressReporter(settings, batches.length);
  const drawnWith: DrawnWith = {
    ...settings,
    ...size,
    model: session.fingerprint,
    instructionSet: session.model.isa,
    device: kindOf(session.device),
    precision: session.precision,
    karras: session.config.scheduler.useKarrasSigmas,
  };
  for (const batch of batches) {
    const { latents, ...found } = await drawLatents(session, settings, batch, latent, progress);
    for (const warning of found.warnings) {
      if (!warnings.some(({ message }) => message === warning.message)) warnings.push(warning);
    }
    named.push(...found.named);
    const pixels = await decodeLatents(session, latents, settings.signal);
    if (!allFinite(pixels)) {
      throw new ConesError('CONES_LOSS_NOT_FINITE', "The picture's values are not finite: lower the guidance, or check the model's weights.");
    }
    const pixelCount = size.height * size.width * 3;
    batch.forEach((job, i) => {
      const data = pixels.subarray(i * pixelCount, (i + 1) * pixelCount);
      images.push(GeneratedImage.fromPixels(data, size.width, size.height, metadataOf(drawnWith, job)));
    });
  }
  return { images, warnings: [...warnings, ...unnamedConcepts(jobs.map((job, i) => ({ ...job, named: named[i]! })))] };
}

/** Final latents of pictures, as the UNet has them; also the way in which prior pictures are drawn. */
export async function drawLatents(
  session: Session,
  settings: Pick<Settings, 'sampler' | 'steps' | 'guidance' | 'eta' | 'signal'> & Partial<Pick<Settings, 'embeddingNorm'>>,
  jobs: readonly Job[],
  latent: { height: number; width: number },
  onStep?: () => void,
) {
  const { signal } = settings;
  const schedule = samplerSchedule(settings.sampler, session.config.scheduler, { steps: settings.steps, eta: settings.eta });
  const { inChannels } = session.config.unet;
  const size = inChannels * latent.height * latent.width;

  const latents = new Float32Array(jobs.length * size);
  jobs.forEach(({ seed }, i) => latents.set(native().randomNormal(seed, 0, size), i * size));
  const scale = schedule.initialNoiseScale;
  if (scale !== 1) latents.forEach((value, i) => (latents[i] = value * scale));

  const rows = jobs.flatMap((job): readonly PictureRow[] => job.rows ?? [{ ...job, subjects: joinSubjects(job.concepts) }]);
  const regions = rows.length / jobs.length;
  const short = await withShortEmbeddings(session, settings.embeddingNorm, signal);
  const subjects = rows.map((row) => row.subjects.map(short));
  const text = await encodePrompts(session, rows.map((row) => row.prompt), subjects, signal);
  const negative = isGuided(settings.guidance)
    ? await encodeNegativePrompts(session, rows.map((row) => row.negativePrompt), subjects, signal)
    : undefined;
  const masks = await Promise.all(rows.map((row) => rowMask(session, row.concepts)));

  const data = await session.job(signal, (abort, guard) =>
    session.model.sample({
      latents,
      batch: jobs.length,
      ...latent,
      ...(regions > 1 ? { regions, weights: weightsOf(rows, latent) } : {}),
      embeddings: text.data,
      ...(negative ? { negativeEmbeddings: negative.data } : {}),
      tokens: text.shape[1],
      guidance: settings.guidance,
      steps: flattenSteps(schedule.steps),
      seeds: BigUint64Array.from(jobs.map((job) => job.seed)),
      ...(masks.some((mask) => mask !== null) ? { masks } : {}),
      ...(onStep ? { onStep: guard(onStep) } : {}),
      abort,
    }),
  );
  return {
    latents: { data, shape: [jobs.length, inChannels, latent.height, latent.width] as const },
    warnings: [...text.warnings, ...(negative?.warnings ?? [])],
    named: jobs.map((_, job) => {
      const own = text.named.slice(job * regions, (job + 1) * regions);
      return [...own, ...(negative?.named.slice(job * regions, (job + 1) * regions) ?? [])].flat();
    }),
  };
}

/** Pictures of one call have as many rows each. */
function inBatches(jobs: readonly Job[], most: number): Job[][] {
  const batches: Job[][] = [];
  const alike = (a: Job, b: Job) => (a.rows?.length ?? 1) === (b.rows?.length ?? 1);
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

function listJobs(settings: Settings, latent: { height: number; width: number }): Job[] {
  const prompts = typeof settings.prompt === 'string' ? [settings.prompt] : settings.prompt;
  const concepts = conceptsPerPrompt(settings.concepts, prompts.length);
  const negativePrompts = negativePerPrompt(settings.negativePrompt, prompts.length);
  const seed = BigInt(settings.seed ?? Math.floor(Math.random() * 2 ** 32));
  return prompts.flatMap((prompt, i) => {
    const drawn = { prompt, negativePrompt: negativePrompts[i]!, concepts: concepts[i]! };
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

function progressReporter({ steps, onProgress }: Settings, batches: number): (() => void) | undefined {
  if (!onProgress) return undefined;
  const total = steps * batches;
  const start = performance.now();
  let step = 0;
  return () => {
    step++;
    onProgress({ step, steps: total, remainingMs: ((performance.now() - start) / step) * (total - step) });
  };
}
