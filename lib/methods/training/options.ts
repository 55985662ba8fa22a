import { z } from 'zod';
import type { ImageInput } from '../../images/picture-source';
import { ConesError } from '../../errors';
import { identifierKey } from '../../text/identifier-key';
import { imageOption, parseOptions, functionOption } from '../../util/options';
import { ownOptions } from '../../util/reading';
import type { Warning } from '../../warning';
import { type Checkpoint, type FindConceptOptions, searchSchema } from '../cones/options';

export type TrainMethod = 'textual-inversion' | 'custom-diffusion' | 'dreambooth';

/** A subject to be trained. */
export interface TrainSubject {
  /** Three to five pictures of the subject: files, or the bytes of some. */
  readonly images: readonly ImageInput[];
  /** What the subject is: 'cat'. */
  readonly category: string;
  /** How captions and prompts name the subject. Default 'V1*', 'V2*' … */
  readonly identifier?: string;
  /**
   * A rare word, one token: what the text encoder sees for the identifier with DreamBooth, and where a learned embedding starts with
   * `embeddingInit: 'token'`. Default: `V1*` takes the model's first, …
   */
  readonly token?: string;
  /**
   * Captions of the pictures, with the identifier; one per picture, or a list of alternatives per picture. Default: "photo of a V1* cat";
   * with Textual Inversion its 27 templates, such as "a photo of a V1*".
   */
  readonly captions?: readonly (string | readonly string[])[];
  /** Pictures of the category without the subject. Default: drawn from the model, see `priorCount`. */
  readonly priorImages?: readonly ImageInput[];
  /** Captions of `priorImages`. Default: "photo of a cat". */
  readonly priorCaptions?: readonly string[];
}

/** Options that mean the same as in {@link FindConceptOptions}, with the same defaults. */
type Shared = Pick<FindConceptOptions, 'priorGuidance' | 'cacheDir' | 'timesteps' | 'seed' | 'checkpointing' | 'priority'>;

/** Options of a training. Where they depend on the method, defaults are the paper's (App. B.1–B.3). */
export interface TrainOptions extends Shared, Partial<TrainSubject> {
  /**
   * 'textual-inversion': a token embedding alone (Gal et al. 2022); 'custom-diffusion': K and V of the cross-attention and a token
   * embedding (Kumari et al. 2022); 'dreambooth': all weights of the UNet (Ruiz et al. 2022).
   */
  readonly method: TrainMethod;
  /** Several subjects at once, instead of `images`, `category` and what else is of one subject. Up to 8. */
  readonly subjects?: readonly TrainSubject[];
  /** Number of prior pictures to draw for each subject when none are given; they are cached. Default 32. */
  readonly priorCount?: number;
  /** Default: 5000 (Textual Inversion), 600 (Custom Diffusion), 800 (DreamBooth), each times the number of subjects. */
  readonly steps?: number;
  /** Default: 5e-3 (Textual Inversion), 1e-5 (Custom Diffusion), 5e-6 (DreamBooth). */
  readonly learningRate?: number;
  /** Multiply the learning rate by `batchSize`. Default: true, but false with DreamBooth. */
  readonly scaleLearningRate?: boolean;
  /** 'adamw' has the weight decay, 'adam' none. Default 'adamw'. */
  readonly optimizer?: 'adamw' | 'adam';
  /** AdamW's weight decay, 0 … 1. Default 0.01, as in diffusers' scripts. */
  readonly weightDecay?: number;
  /** Pictures of subjects per step. Default 4, but 1 with DreamBooth. */
  readonly batchSize?: number;
  /** Prior pictures per step. Default: as many as pictures of subjects; none with Textual Inversion. */
  readonly priorBatchSize?: number;
  /** Weight of the prior pictures' loss. Default 1. */
  readonly priorWeight?: number;
  /**
   * Where learned embeddings start: at the rare token's, or at the mean of the category's words. Default: 'category' with Textual
   * Inversion, 'token' with Custom Diffusion. DreamBooth learns none.
   */
  readonly embeddingInit?: 'token' | 'category';
  /** Goes on from a state that {@link Training.save} returned, with the same other options. */
  readonly resume?: Uint8Array;
  /** Saves the training as it goes, so that it survives its process. Default: none. */
  readonly checkpoint?: Checkpoint;
  /** Called after every step of every phase. */
  readonly onProgress?: (progress: TrainProgress) => void;
  /** Called with what may go differently from what you expect. */
  readonly onWarning?: (warning: Warning) => void;
  /** Ends the training with an AbortError; its state is that of the last whole step. */
  readonly signal?: AbortSignal;
}

export interface TrainProgress {
  readonly phase: 'encode' | 'prior' | 'train';
  /** Steps of this phase done, and in all. */
  readonly step: number;
  readonly steps: number;
  /** During the training: the loss of this step's batch, and its mean squared errors of subject and prior rows. */
  readonly loss?: number;
  readonly subjectLoss?: number;
  readonly priorLoss?: number;
  readonly msPerStep?: number;
  /** Estimated milliseconds to the end of this phase. */
  readonly remainingMs?: number;
}

/** What the paper sets for each (App. B.1–B.3). */
export const METHODS = {
  'textual-inversion': { steps: 5000, learningRate: 5e-3, scaleLearningRate: true, batchSize: 4, embeddingInit: 'category', hasPrior: false },
  'custom-diffusion': { steps: 600, learningRate: 1e-5, scaleLearningRate: true, batchSize: 4, embeddingInit: 'token', hasPrior: true },
  dreambooth: { steps: 800, learningRate: 5e-6, scaleLearningRate: false, batchSize: 1, embeddingInit: 'token', hasPrior: true },
} as const satisfies Readonly<Record<TrainMethod, object>>;

export const WEIGHT_DECAY = 0.01;
const MOST_SUBJECTS = 8;

const OF_SUBJECT = { category: true, token: true, captions: true, priorImages: true, priorCaptions: true } as const;
const subjectSchema = searchSchema.pick(OF_SUBJECT).extend({
  // An empty list is told as CONES_IMAGES_MISSING.
  images: z.array(imageOption).max(1000),
  identifier: searchSchema.shape.identifier.unwrap().optional(),
});

const schema = searchSchema
  .pick({
    ...{ priorCount: true, priorGuidance: true, cacheDir: true, priorWeight: true, priorBatchSize: true, timesteps: true, seed: true },
    ...{ checkpointing: true, priority: true, resume: true, checkpoint: true, onWarning: true, signal: true },
  })
  .extend({
    method: z.enum(Object.keys(METHODS) as [TrainMethod, ...TrainMethod[]]),
    ...subjectSchema.partial().shape,
    subjects: z.array(subjectSchema).min(1).max(MOST_SUBJECTS).optional(),
    steps: z.int().min(1).max(10_000_000).optional(),
    learningRate: z.number().gt(0).max(1e6).optional(),
    scaleLearningRate: z.boolean().optional(),
    optimizer: z.enum(['adamw', 'adam']).default('adamw'),
    weightDecay: z.number().min(0).max(1).optional(),
    batchSize: z.int().min(1).max(256).optional(),
    embeddingInit: z.enum(['token', 'category']).optional(),
    onProgress: functionOption<(progress: TrainProgress) => void>(),
  });

/** A subject's options, with its identifier. */
export type TrainSubjectSettings = z.output<typeof subjectSchema> & { readonly identifier: string };

export interface TrainSettings extends Omit<z.output<typeof schema>, keyof TrainSubject | 'subjects'> {
  readonly subjects: readonly TrainSubjectSettings[];
  readonly steps: number;
  /** After the scaling rule. */
  readonly learningRate: number;
  readonly weightDecay: number;
  readonly batchSize: number;
  readonly embeddingInit: 'token' | 'category';
}

/** @throws ConesError CONES_OPTION_INVALID */
export function trainSettings(given: TrainOptions): TrainSettings {
  const options = ownOptions('train', given);
  const { images, category, identifier, token, captions, priorImages, priorCaptions, subjects: several, ...settings } = parseOptions('train', schema, options);
  const { method } = settings;
  const one = { images, category, identifier, token, captions, priorImages, priorCaptions };
  const named = Object.entries(one).find(([, value]) => value !== undefined)?.[0];
  if (several && named) throw problem(`${named} does not go with subjects: say it of each of them`);
  if (!several && images === undefined) throw problem('images is missing: give three to five pictures of the subject');
  if (!several && category === undefined) throw problem('category is missing: say what the subject is, such as "cat"');
  const subjects = (several ?? [one as z.output<typeof subjectSchema>]).map((subject, i) => ({ ...subject, identifier: subject.identifier ?? `V${i + 1}*` }));
  checkSubjects(method, subjects, several !== undefined);
  if (method === 'dreambooth' && settings.embeddingInit !== undefined) throw problem('embeddingInit is not for DreamBooth, which learns no embedding');
  if (settings.optimizer === 'adam' && settings.weightDecay !== undefined) throw problem("weightDecay is for optimizer 'adamw'");
  const idle = (['priorCount', 'priorGuidance'] as const).find((name) => options[name] !== undefined);
  if (idle && subjects.every((subject) => subject.priorImages)) throw problem(`${idle} is for pictures that the model draws, and every subject has priorImages`);

  const defaults = METHODS[method];
  const batchSize = settings.batchSize ?? defaults.batchSize;
  const priorBatchSize = settings.priorBatchSize ?? (defaults.hasPrior ? batchSize : 0);
  return {
    ...settings,
    subjects,
    steps: settings.steps ?? defaults.steps * subjects.length,
    batchSize,
    priorBatchSize,
    learningRate: (settings.learningRate ?? defaults.learningRate) * ((settings.scaleLearningRate ?? defaults.scaleLearningRate) ? batchSize : 1),
    weightDecay: settings.optimizer === 'adam' ? 0 : (settings.weightDecay ?? WEIGHT_DECAY),
    embeddingInit: settings.embeddingInit ?? defaults.embeddingInit,
  };
}

function checkSubjects(method: TrainMethod, subjects: readonly TrainSubjectSettings[], several: boolean): void {
  const place = (i: number) => (several ? `subjects.${i}.` : '');
  subjects.forEach(({ priorImages, priorCaptions, token }, i) => {
    if (priorCaptions && !priorImages) throw problem(`${place(i)}priorCaptions needs priorImages: pictures that the model draws have its own captions`);
    if (token !== undefined && subjects.some((other, j) => j < i && other.token === token)) throw problem(`${place(i)}token is another subject's, too: give each its own`);
  });
  if (new Set(subjects.map(({ identifier }) => identifierKey(identifier))).size < subjects.length) throw problem('subjects: two of them have the same identifier: give each its own, such as V2*');
  if (method === 'textual-inversion' && subjects.some(({ priorImages }) => priorImages)) throw problem('priorImages is not for Textual Inversion, which has no prior to preserve');
}

export function problem(what: string): ConesError {
  return new ConesError('CONES_OPTION_INVALID', `train: the option ${what}.`);
}
