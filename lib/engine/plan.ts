/** What a job will need, before it starts: the native side counts every tensor of a run without computing anything. */
import { z } from 'zod';
import type { FindConceptOptions } from '../methods/cones/options';
import type { RefineConceptsOptions } from '../methods/cones/refine-options';
import { selectTensors } from '../methods/cones/layers';
import { layersOption, PRIOR_COUNT } from '../methods/cones/options';
import { bytesOfPreparing } from '../methods/shared/plan-inputs';
import { PRIOR_BATCH } from '../methods/shared/prior';
import { REPORT_ROWS } from '../analysis/report';
import { bytesOfTraining, type TrainPlanOptions } from '../methods/training/plan';
import { parseOptions } from '../util/options';
import { type AdapterChoice, adaptersOption, adaptersPerPrompt } from './adapters';
import { planDrawing } from './batch-size';
import { checkpointingOption, planLevel } from './checkpointing';
import type { GenerateOptions } from './generate';
import { modelIsGuided } from './guidance';
import { conditionsOf } from '../models/conditions';
import { latentSize, nativeSize } from './pictures';
import { picturesTogether } from './regions';
import type { Session } from './session';

/** Memory in bytes, as the engine's `memoryLimit` counts it: weights and tensors, without JavaScript's own arrays. */
export interface MemoryPlan {
  /** What is in use now: the packed weights, and the state of searches. */
  readonly inUse: number;
  /** The most that will be in use at once when the job runs; for pictures, after as many are drawn together as fit. */
  readonly peak: number;
  readonly limit: number;
  /** Whether the job would start: `peak` is within `limit`. */
  readonly fits: boolean;
}

/** The options of {@link GenerateOptions} that decide about memory, with the same defaults; `count`: pictures in all. */
export type GeneratePlanOptions = Pick<GenerateOptions, 'count' | 'batchSize' | 'guidance' | 'imageGuidance' | 'decoder' | 'width' | 'height'> & {
  /** Whether there is a picture to start from. A model that needs one has it anyway. */
  readonly image?: boolean;
  /** Whether there is a mask. */
  readonly mask?: boolean;
  /** Whether there is an `onPreview`. */
  readonly previews?: boolean;
  /** Number of regions of each picture, 1 to 8, as if each saw the whole picture. Default 1. */
  readonly regions?: number;
  /** Text states of a picture: with `promptSyntax: 'weighted'` 77 for each chunk of the longer of its two texts. Default: those of one chunk. */
  readonly tokens?: number;
  readonly adapters?: readonly AdapterChoice[];
};

/** The options of {@link FindConceptOptions} that decide about memory, with the same defaults. */
export type SearchPlanOptions = Pick<
  FindConceptOptions,
  'priorCount' | 'batchSize' | 'priorBatchSize' | 'optimizer' | 'layers' | 'learnEmbedding' | 'checkpointing'
> & {
  /** Number of subject pictures. Default 5. */
  readonly images?: number;
  /** Number of different captions. Default 2. */
  readonly captions?: number;
  /** Number of prior pictures that are given. Default: none are, and `priorCount` are drawn. */
  readonly priorImages?: number;
};

/** The options of {@link RefineConceptsOptions} that decide about memory, with the same defaults. */
export type RefinementPlanOptions = Pick<RefineConceptsOptions, 'compose' | 'priorCount' | 'batchSize' | 'priorBatchSize' | 'checkpointing'> & {
  /** Number of subjects. Default 2. */
  readonly subjects?: number;
  /** Number of pictures of the one that has most. Default 5. */
  readonly images?: number;
  /** Number of prior pictures given for the subject that has most. Default: none are, and `priorCount` are drawn for each. */
  readonly priorImages?: number;
};

const generateSchema = z.strictObject({
  count: z.int().min(1).max(2 ** 24).default(1),
  batchSize: z.int().min(1).max(1024).default(4),
  guidance: z.number().min(0).max(1000).default(7.5),
  imageGuidance: z.number().min(0).max(1000).default(1.5),
  image: z.boolean().default(false),
  mask: z.boolean().default(false),
  decoder: z.enum(['own', 'drafts']).default('own'),
  previews: z.boolean().default(false),
  adapters: adaptersOption,
  width: z.int().min(1).optional(),
  height: z.int().min(1).optional(),
  regions: z.int().min(1).max(8).default(1),
  tokens: z.int().min(1).max(2 ** 14).optional(),
});

const searchSchema = z.strictObject({
  images: z.int().min(1).max(1000).default(5),
  captions: z.int().min(1).max(20_000).default(2),
  priorCount: z.int().min(1).max(10_000).default(PRIOR_COUNT),
  priorImages: z.int().min(1).max(10_000).optional(),
  batchSize: z.int().min(1).max(256).default(4),
  priorBatchSize: z.int().min(0).max(256).optional(),
  optimizer: z.enum(['adam', 'sgd']).default('adam'),
  layers: layersOption,
  learnEmbedding: z.boolean().default(true),
  checkpointing: checkpointingOption.optional(),
});

const refinementSchema = searchSchema.pick({ priorCount: true, priorImages: true, batchSize: true, priorBatchSize: true, checkpointing: true }).extend({
  subjects: z.int().min(2).max(8).default(2),
  images: z.int().min(1).max(100).default(5),
  compose: z.boolean().default(true),
});

/** @throws ConesError CONES_OPTION_INVALID, CONES_DISPOSED */
export function planGenerate(session: Session, options: GeneratePlanOptions = {}): MemoryPlan {
  const { count, batchSize, guidance, width, height, image, mask, regions, tokens, adapters: chosen, ...given } = parseOptions('planGenerate', generateSchema, options);
  session.assertUsable();
  const own = nativeSize(session);
  const latent = latentSize(session, height ?? own.height, width ?? own.width);
  const adapters = adaptersPerPrompt(session, chosen, 1).flat();
  const conditions = conditionsOf(session.config);
  const imageGuidance = conditions === 'picture' ? given.imageGuidance : undefined;
  const guided = modelIsGuided(session.config, { guidance, imageGuidance });
  const edit = image || conditions !== 'none' ? { known: mask && conditions === 'none', ...(imageGuidance === undefined ? {} : { imageGuidance }) } : undefined;
  const previewed = given.previews && session.config.drafts !== undefined;
  const most = Math.min(count, batchSize, picturesTogether(guided, regions));
  const drawing = { most, guided, regions, latent, decoded: true, decoder: given.decoder, previewed, edit, adapters, ...(tokens === undefined ? {} : { tokens }) };
  return memoryPlan(session, planDrawing(session, drawing, available(session)).bytes);
}

/** @throws ConesError CONES_OPTION_INVALID, CONES_DISPOSED */
export function planSearch(session: Session, options: SearchPlanOptions = {}): MemoryPlan {
  const settings = parseOptions('planSearch', searchSchema, options);
  session.assertUsable();
  session.assertTextToImage('planSearch');
  const { model, tokenizer } = session;
  const size = nativeSize(session);
  const latent = latentSize(session, size.height, size.width);
  const priorBatch = settings.priorBatchSize ?? settings.batchSize;
  const priors = priorBatch > 0 ? (settings.priorImages ?? settings.priorCount) : 0;
  // As the search does: activations are recomputed when keeping them would need more memory than there is.
  const search = planLevel(settings.checkpointing, () => available(session), (checkpointing) => model.planSearch({
    ...latent,
    batch: settings.batchSize + priorBatch,
    pictures: settings.images + priors,
    captions: settings.captions,
    tokens: tokenizer.maxLength,
    tensors: Int32Array.from(selectTensors(session.kvTensors, settings.layers)),
    optimizer: settings.optimizer,
    identifierRows: settings.learnEmbedding ? Math.min(settings.batchSize + priorBatch, settings.captions) : 0,
    checkpointing,
  }));
  const preparing = bytesOfPreparing(session, { ...settings, priors }, () => available(session));
  // The report is measured and drawn while the search's state is still there.
  const report = Math.max(
    model.planDenoise(REPORT_ROWS, latent.height, latent.width, tokenizer.maxLength),
    planDrawing(session, { most: PRIOR_BATCH, guided: true, latent, decoded: true }, available(session) - search.held).bytes,
  );
  return memoryPlan(session, Math.max(preparing, search.peak, search.held + report));
}

/** @throws ConesError CONES_OPTION_INVALID, CONES_DISPOSED */
export function planRefinement(session: Session, options: RefinementPlanOptions = {}): MemoryPlan {
  const { subjects, images, compose, priorImages, priorCount, ...same } = parseOptions('planRefinement', refinementSchema, options);
  const pairs = (subjects * (subjects - 1)) / 2;
  return planSearch(session, {
    ...same,
    // Each subject's pictures come as often as the longest list's, and one of two subjects with each (refine.ts).
    images: subjects * images * (compose ? 2 : 1),
    ...(priorImages === undefined ? { priorCount: subjects * priorCount } : { priorImages: subjects * priorImages }),
    // One of each subject and each category, six of each pair.
    captions: 2 * subjects + (compose ? 6 * pairs : 0),
    learnEmbedding: false,
  });
}

/** @throws ConesError CONES_OPTION_INVALID, CONES_DISPOSED */
export function planTrain(session: Session, options: TrainPlanOptions): MemoryPlan {
  return memoryPlan(session, bytesOfTraining(session, options, () => available(session)));
}

function available(session: Session): number {
  const { inUse, limit } = session.model.memory();
  return limit - inUse;
}

function memoryPlan(session: Session, bytes: number): MemoryPlan {
  const { inUse, limit } = session.model.memory();
  const peak = inUse + bytes;
  return { inUse, peak, limit, fits: peak <= limit };
}
