/** Memory of a training, told in advance: its own jobs, without their numbers. */
import { z } from 'zod';
import { checkpointingOption, planLevel } from '../../engine/checkpointing';
import type { Session } from '../../engine/session';
import { latentSize, nativeSize } from '../../engine/pictures';
import { parseOptions } from '../../util/options';
import { PRIOR_COUNT } from '../cones/options';
import { bytesOfPreparing } from '../shared/plan-inputs';
import { METHODS, type TrainMethod, type TrainOptions } from './options';
import { TEXTUAL_INVERSION_TEMPLATES } from './templates';
import { trainedWeights } from './training';

/** The options of {@link TrainOptions} that decide about memory, with the same defaults. */
export type TrainPlanOptions = Pick<TrainOptions, 'method' | 'priorCount' | 'batchSize' | 'priorBatchSize' | 'checkpointing'> & {
  /** Number of subjects. Default 1. */
  readonly subjects?: number;
  /** Number of pictures of the one that has most. Default 5. */
  readonly images?: number;
  /** Number of different captions, those of prior pictures included. Default: as many as the method's own. */
  readonly captions?: number;
  /** Number of prior pictures given for the subject that has most. Default: none are, and `priorCount` are drawn for each. */
  readonly priorImages?: number;
};

const schema = z.strictObject({
  method: z.enum(Object.keys(METHODS) as [TrainMethod, ...TrainMethod[]]),
  subjects: z.int().min(1).max(8).default(1),
  images: z.int().min(1).max(1000).default(5),
  captions: z.int().min(1).max(20_000).optional(),
  priorCount: z.int().min(1).max(10_000).default(PRIOR_COUNT),
  priorImages: z.int().min(1).max(10_000).optional(),
  batchSize: z.int().min(1).max(256).optional(),
  priorBatchSize: z.int().min(0).max(256).optional(),
  checkpointing: checkpointingOption.optional(),
});

/**
 * Bytes that a training takes at most, of `available`.
 * @throws ConesError CONES_OPTION_INVALID, CONES_DISPOSED
 */
export function bytesOfTraining(session: Session, options: TrainPlanOptions, available: () => number): number {
  const settings = parseOptions('planTrain', schema, options);
  session.assertUsable();
  const { model, tokenizer } = session;
  const { method, subjects } = settings;
  const size = nativeSize(session);
  const latent = latentSize(session, size.height, size.width);
  const batchSize = settings.batchSize ?? METHODS[method].batchSize;
  const priorBatch = settings.priorBatchSize ?? (METHODS[method].hasPrior ? batchSize : 0);
  const priors = priorBatch > 0 ? subjects * (settings.priorImages ?? settings.priorCount) : 0;
  const own = method === 'textual-inversion' ? TEXTUAL_INVERSION_TEMPLATES.length : 1;
  const captions = settings.captions ?? subjects * (own + (priors > 0 ? 1 : 0));
  // As the training does: activations are recomputed when keeping them would need more memory than there is.
  const training = planLevel(settings.checkpointing, available, (checkpointing) => model.planTraining({
    ...latent,
    batch: batchSize + priorBatch,
    pictures: subjects * settings.images + priors,
    captions,
    tokens: tokenizer.maxLength,
    ...trainedWeights(session, method),
    identifiers: subjects,
    identifierRows: method === 'dreambooth' ? 0 : Math.min(batchSize + priorBatch, captions),
    checkpointing,
  }));
  return Math.max(bytesOfPreparing(session, { ...settings, priors }, available), training.peak);
}
