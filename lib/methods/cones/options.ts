import { z } from 'zod';
import { Clip } from '../../clip';
import type { Concept, Subject } from '../../concept';
import { common } from '../../concept-file/header';
import { type Checkpointing, checkpointingOption } from '../../engine/checkpointing';
import { ConesError } from '../../errors';
import { identifierKey } from '../../text/identifier-key';
import { asyncFunctionOption, bytesOption, conceptOption, functionOption, imageOption, parseOptions, seedOption, signalOption } from '../../util/options';
import type { ImageInput } from '../../images/picture-source';
import { namesSubject } from '../../text/prompt';
import { ownOptions } from '../../util/reading';
import { embeddingNormOption } from '../../engine/word-norm';
import type { Warning } from '../../warning';

/** Shares of the time, see {@link FindConceptOptions.priority}. */
export const SHARES = { background: 0.1, normal: 1 / 3, high: 2 / 3 } as const;
export type Priority = keyof typeof SHARES;

/** Which K-V weights are searched. */
export interface LayerSelection {
  /** Self-attention (`attn1`). Default true. */
  readonly self?: boolean;
  /** Cross-attention to the text (`attn2`). Default true. */
  readonly cross?: boolean;
  /** Key projections (`to_k`). Default true. */
  readonly keys?: boolean;
  /** Value projections (`to_v`). Default true. */
  readonly values?: boolean;
}

/** Options of a concept search. The paper's values stand beside the defaults; docs/log/search.md has the measurements. */
export interface FindConceptOptions {
  /** Three to five pictures of the subject: files, or the bytes of some. */
  readonly images: readonly ImageInput[];
  /** What the subject is: 'cat'. */
  readonly category: string;
  /** How prompts name the subject. Default 'V1*'. */
  readonly identifier?: string;
  /** The rare word, one token, that the text encoder sees for the identifier. Default: `V1*` takes the model's first, … */
  readonly token?: string;
  /** Concepts of this model that will be drawn together with this one: their tokens are not taken. Default none. */
  readonly others?: readonly Concept[];
  /**
   * Captions of the pictures, with the identifier; one per picture, or a list of alternatives per picture.
   * Default: "photo of a V1* cat" (paper App. C.4).
   */
  readonly captions?: readonly (string | readonly string[])[];
  /** Pictures of the category without the subject (Eq. 3). Default: drawn from the model, see `priorCount`. */
  readonly priorImages?: readonly ImageInput[];
  /** Captions of `priorImages`. Default: "photo of a cat". */
  readonly priorCaptions?: readonly string[];
  /** Number of prior pictures to draw with the base model when none are given; they are cached. Default 32. */
  readonly priorCount?: number;
  /** Scale of classifier-free guidance with which they are drawn, 0 … 1000; 1 and less: none. Default 3 (paper: 7.5 for all pictures, App. B). */
  readonly priorGuidance?: number;
  /** Where drawn prior pictures are kept; null: nowhere. Default: the user's cache folder. */
  readonly cacheDir?: string | null;
  /**
   * 'a2' (Algorithm A2, the paper's choice) or '1', which differs in what it multiplies gradients by: θ^k = ξ ⊙ θ instead of θ
   * (Eq. 11). Optimiser and ranking stay options of their own; Algorithm 1's are 'sgd' and 'score'. Default 'a2'.
   */
  readonly algorithm?: 'a2' | '1';
  /** Updates of ξ. Default 'adam'; the paper's learning rates are Adam's. */
  readonly optimizer?: 'adam' | 'sgd';
  /** Learning rate of ξ. Default 6e-5 (paper: 2e-5 for one subject, 6e-5 base, App. B.4). */
  readonly learningRate?: number;
  /** Multiply the learning rate by the batch size, the paper's rule (App. B.4). Default false. */
  readonly scaleLearningRate?: boolean;
  /** Keep ξ within [0, 1]. Default true. */
  readonly clamp?: boolean;
  /**
   * Straight-through (docs/log/search.md): every step sees the mask itself, θ with the `density` of weights that moved most at
   * zero, instead of ξ ⊙ θ, so that neurons are chosen for what shutting them together does. Their number grows from none to
   * all over the first 30 steps. False: ξ ⊙ θ, as in the paper (docs/log/search.md lists the rest of its search). Default true; false where `algorithm: '1'`,
   * `ranking: 'score'` or a `threshold` asks for that.
   */
  readonly straightThrough?: boolean;
  /** K, the number of steps. Default 300 (paper: 1000). */
  readonly steps?: number;
  /** Subject pictures per step. Default 4 (paper: 2 in all). */
  readonly batchSize?: number;
  /** Prior pictures per step. Default: as many as subject pictures. */
  readonly priorBatchSize?: number;
  /** λ of Eq. 4. Default 1. */
  readonly priorWeight?: number;
  /** Timesteps are drawn from [min, max). Default: all. */
  readonly timesteps?: readonly [min: number, max: number];
  /** What neurons are ranked by: the displacement 1 − ξ (Eq. A20) or the summed score S (Eq. 9). Default 'displacement'. */
  readonly ranking?: 'displacement' | 'score';
  /**
   * Fraction of the searched weights to shut (paper: 0.0132 on average, Tab. 2), or 'auto': the one of
   * `report.densities` with the lowest loss on held-out noise, after a straight-through search at 0.02.
   * Default 0.02, and 'auto' without `straightThrough`, whose neurons shut one by one do not go together that well.
   * Only weights that moved towards zero (or have a positive score) are shut: fewer where there are not as many.
   */
  readonly density?: number | 'auto';
  /** Shut what ranks above this (τ of Eq. 9, or βτ of Eq. A20) instead of a given density. */
  readonly threshold?: number;
  /** Which K-V weights are searched. Default: all. */
  readonly layers?: LayerSelection;
  /**
   * Also learn the identifier's token embedding on the same loss (as Textual Inversion), and keep it in the concept: 1.5 KB
   * for Stable Diffusion 1. False: neurons alone, as in the paper. Default true, but false where no caption has the
   * identifier.
   */
  readonly learnEmbedding?: boolean;
  /** Adam's learning rate of this embedding. Default 5e-3, Textual Inversion's. */
  readonly embeddingRate?: number;
  /**
   * It is scaled down to this length after every step, as a multiple of the mean length of the vocabulary's embeddings. Default: it may
   * grow.
   */
  readonly embeddingNorm?: number;
  /** Where it starts: at the rare token's embedding, or at the mean of the category's. Default 'token'. */
  readonly embeddingInit?: 'token' | 'category';
  /** Everything random is a function of it. Default 0. */
  readonly seed?: number | bigint;
  /** Recompute activations in backward: less memory, more time. Default: as little as the memory limit allows. */
  readonly checkpointing?: Checkpointing;
  /**
   * Of the time that the engine has while pictures and other work wait, searches get a third ('normal'), a tenth ('background') or two
   * thirds ('high'); all of it when nothing waits. The result is the same. Default 'normal'.
   */
  readonly priority?: Priority;
  /** How the result is measured. */
  readonly report?: ReportOptions;
  /** Goes on from a state that {@link ConceptSearch.save} returned, with the same other options. */
  readonly resume?: Uint8Array;
  /** Saves the search as it goes, so that it survives its process. Default: none. */
  readonly checkpoint?: Checkpoint;
  /** Called after every step of every phase. */
  readonly onProgress?: (progress: SearchProgress) => void;
  /**
   * Called with what may go differently from what you expect: captions of which something is read as plain text or cut off, one
   * picture only, a result that is worse than the untouched model.
   */
  readonly onWarning?: (warning: Warning) => void;
  /** Ends the search after the step that it is in, with an AbortError. */
  readonly signal?: AbortSignal;
}

/** When a search's state is saved, and how. */
export interface Checkpoint {
  /** Steps between two of them. After a crash, so many are lost at most. */
  readonly every: number;
  /**
   * Called with the state (as {@link ConceptSearch.save} returns it, for `resume`) and the number of steps done: whenever that is a
   * multiple of `every`, and after the last step. The search waits for what it returns, and ends with what it throws.
   */
  readonly save: (state: Buffer, step: number) => void | PromiseLike<void>;
}

/** How the result is measured, on noise and timesteps that the search did not see. */
export interface ReportOptions {
  /** Rows of held-out noise for the subject, and as many for the prior. Default 32. */
  readonly rows?: number;
  /** Densities to try. Default 0.1, 0.25, 0.5, 1, 1.32, 2, 4 and 8 %. */
  readonly densities?: readonly number[];
  /** Pictures per prompt to draw with and without the mask, for likeness and specificity; 0: none. Default 2. */
  readonly pictures?: number;
  /** Another category, which should not change. Default 'dog', or 'cat' for a dog. */
  readonly otherCategory?: string;
  /** Solver steps of these pictures. Default 20. */
  readonly steps?: number;
  /**
   * The CLIP pair that measures these pictures, its folder, or its name on the hub (`hf:…`); null: none. Default: the folder `<model>-clip` beside the
   * model's, if there is one.
   */
  readonly clip?: Clip | string | null;
}

export interface SearchProgress {
  readonly phase: 'encode' | 'prior' | 'search' | 'report';
  /** Steps of this phase done, and in all. */
  readonly step: number;
  readonly steps: number;
  /** During the search: L_con, L_sub and L_pr of this step's batch (Eq. 2–4). */
  readonly loss?: number;
  readonly subjectLoss?: number;
  readonly priorLoss?: number;
  readonly msPerStep?: number;
  /** Estimated milliseconds to the end of this phase. */
  readonly remainingMs?: number;
}

/** What a concept file can hold; told before the search rather than after it. In Unicode's form NFC, whatever it was typed in. */
const name = common.printable.trim().min(1).normalize('NFC');

const caption = z.string().regex(/\P{White_Space}/u, 'must not be blank');

const fraction = z.number().gt(0).max(1);

export const layersOption = z
  .strictObject({
    self: z.boolean().default(true),
    cross: z.boolean().default(true),
    keys: z.boolean().default(true),
    values: z.boolean().default(true),
  })
  .prefault({});

const selection = {
  density: z.union([fraction, z.literal('auto')], "must be a fraction from 0 to 1, or 'auto'").optional(),
  threshold: z.number().min(0).optional(),
};

/** The density of a straight-through search. */
export const STRAIGHT_THROUGH_DENSITY = 0.02;

/** The first step in which it shuts all of them: the first steps' order is mostly noise. */
export const STRAIGHT_THROUGH_RAMP = 30;

/** Prior pictures to draw when none are given. */
export const PRIOR_COUNT = 32;

/** Two options of which one would silently have no effect. */
const CONFLICTS = [
  ['density', 'threshold', 'choose one'],
  ['priorCount', 'priorImages', 'it is for pictures that the model draws'],
  ['priorGuidance', 'priorImages', 'it is for pictures that the model draws'],
] as const;

/** What only the paper's search can do. */
const NEEDS_PLAIN_SEARCH = [
  ['algorithm', ({ algorithm }) => algorithm === '1', 'a weight at zero has no score in Algorithm 1'],
  ['ranking', ({ ranking }) => ranking === 'score', 'it shuts weights by displacement'],
  ['threshold', ({ threshold }) => threshold !== undefined, 'it needs to know how many weights are shut'],
] as const satisfies readonly [keyof FindConceptOptions, (options: FindConceptOptions) => boolean, string][];

export const searchSchema = z.strictObject({
  // An empty list is told as CONES_IMAGES_MISSING.
  images: z.array(imageOption).max(1000),
  category: name.max(200),
  identifier: name.max(64).regex(/^\P{White_Space}+$/u, 'must be one word, such as "V1*"').default('V1*'),
  token: name.optional(),
  others: z.array(conceptOption).default([]),
  captions: z.array(z.union([caption, z.array(caption).min(1)], 'must be a caption, or a list of alternatives')).optional(),
  priorImages: z.array(imageOption).min(1).max(10_000).optional(),
  priorCaptions: z.array(caption).optional(),
  priorCount: z.int().min(1).max(10_000).default(PRIOR_COUNT),
  priorGuidance: z.number().min(0).max(1000).default(3),
  cacheDir: z.string().min(1).nullable().optional(),
  algorithm: z.enum(['a2', '1']).default('a2'),
  optimizer: z.enum(['adam', 'sgd']).default('adam'),
  learningRate: z.number().gt(0).max(1e6).default(6e-5),
  scaleLearningRate: z.boolean().default(false),
  clamp: z.boolean().default(true),
  straightThrough: z.boolean().optional(),
  steps: z.int().min(1).max(1_000_000).default(300),
  batchSize: z.int().min(1).max(256).default(4),
  priorBatchSize: z.int().min(0).max(256).optional(),
  priorWeight: z.number().min(0).max(1000).default(1),
  timesteps: z.tuple([z.int().min(0), z.int().min(1)]).optional(),
  ranking: z.enum(['displacement', 'score']).default('displacement'),
  ...selection,
  layers: layersOption,
  learnEmbedding: z.boolean().optional(),
  embeddingRate: z.number().gt(0).max(1e6).default(5e-3),
  embeddingNorm: embeddingNormOption,
  embeddingInit: z.enum(['token', 'category']).default('token'),
  seed: seedOption.default(0),
  checkpointing: checkpointingOption.optional(),
  priority: z.enum(['background', 'normal', 'high']).default('normal'),
  report: z
    .strictObject({
      rows: z.int().min(1).max(4096).default(32),
      densities: z.array(fraction).min(1).max(64).default([0.001, 0.0025, 0.005, 0.01, 0.0132, 0.02, 0.04, 0.08]),
      pictures: z.int().min(0).max(64).default(2),
      otherCategory: name.max(200).optional(),
      steps: z.int().min(1).max(1000).default(20),
      clip: z.union([z.string().min(1), z.custom<Clip>((value) => value instanceof Clip)], 'must be a Clip or its folder').nullable().optional(),
    })
    .prefault({}),
  resume: bytesOption.optional(),
  checkpoint: z.strictObject({ every: z.int().min(1), save: asyncFunctionOption<Checkpoint['save']>() }).optional(),
  onProgress: functionOption<(progress: SearchProgress) => void>(),
  onWarning: functionOption<(warning: Warning) => void>(),
  signal: signalOption,
});

const selectionSchema = z.strictObject(selection);

export type SearchSettings = z.output<typeof searchSchema> & {
  readonly learnEmbedding: boolean;
  readonly straightThrough: boolean;
  readonly density: number | 'auto';
};

/** @throws ConesError CONES_OPTION_INVALID */
export function searchSettings(given: FindConceptOptions): SearchSettings {
  const options = ownOptions('findConcept', given);
  const settings = parseOptions('findConcept', searchSchema, options);
  for (const [name, other, why] of CONFLICTS) {
    if (options[name] !== undefined && options[other] !== undefined) throw conflict('findConcept', name, `does not go with ${other}: ${why}`);
  }
  if (settings.priorCaptions && !settings.priorImages) {
    throw conflict('findConcept', 'priorCaptions', 'needs priorImages: pictures that the model draws have its own captions');
  }
  const identifier = identifierKey(settings.identifier);
  if (settings.others.some(({ subjects }) => subjects.some((subject) => identifierKey(subject.identifier) === identifier))) {
    throw conflict('findConcept', 'identifier', `is ${settings.identifier}, as in one of others: give this subject a name of its own, such as "V2*"`);
  }
  const learnEmbedding = settings.learnEmbedding ?? named(settings);
  for (const name of ['embeddingRate', 'embeddingInit', 'embeddingNorm'] as const) {
    if (options[name] !== undefined && !learnEmbedding) throw conflict('findConcept', name, 'needs learnEmbedding: nothing else learns an embedding');
  }
  const plain = NEEDS_PLAIN_SEARCH.find(([, asked]) => asked(options));
  if (plain && settings.straightThrough) throw conflict('findConcept', 'straightThrough', `does not go with this ${plain[0]}: ${plain[2]}`);
  const straightThrough = settings.straightThrough ?? !plain;
  return { ...settings, learnEmbedding, straightThrough, density: settings.density ?? (straightThrough ? STRAIGHT_THROUGH_DENSITY : 'auto') };
}

/** Whether a caption has the identifier; the default ones have. */
function named({ captions, identifier, category }: z.output<typeof searchSchema>): boolean {
  const subject: Subject = { identifier, category, token: identifier };
  return captions?.flat().some((caption) => namesSubject(caption, subject)) ?? true;
}

/** How many neurons a concept gets: a density or a threshold of the ranking. */
export type Selection = Pick<FindConceptOptions, 'density' | 'threshold'>;

/** @throws ConesError CONES_OPTION_INVALID */
export function checkSelection(call: string, options: Selection): z.output<typeof selectionSchema> {
  const settings = parseOptions(call, selectionSchema, options);
  if (settings.density !== undefined && settings.threshold !== undefined) throw conflict(call, 'density', 'does not go with threshold: choose one');
  return settings;
}

function conflict(call: string, option: string, problem: string): ConesError {
  return new ConesError('CONES_OPTION_INVALID', `${call}: the option ${option} ${problem}.`);
}
