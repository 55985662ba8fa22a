/** What a search learns from: pictures, their captions and prior pictures. */
import type { Clip } from '../../clip';
import type { Concept, Subject } from '../../concept';
import { encodeImages, type Moments, nativeSize } from '../../engine/pictures';
import { assertNotAborted, type Session } from '../../engine/session';
import { ConesError } from '../../errors';
import { freeToken, priorCaption, subjectCaption } from '../../text/prompt';
import { findPair } from '../../analysis/alignment';
import { type Captions, listCaptions } from './captions';
import { selectTensors } from '../cones/layers';
import type { SearchSettings } from '../cones/options';
import { defaultCacheDir, drawPrior } from './prior';
import { singlePicture } from '../cones/search-warnings';

/** Everything that a search learns from, as the native side takes it. */
export interface Inputs {
  /** One, or those of a joint refinement. */
  readonly subjects: readonly Subject[];
  readonly subjectMoments: Moments;
  readonly priorMoments: Moments | null;
  readonly captions: Captions;
  /** Indices of the searched K-V weights. */
  readonly tensors: readonly number[];
  /** Only neurons of this concept can be found; null: any weight of `tensors`. */
  readonly within: Concept | null;
  /** What is refined, for the report. */
  readonly union: Concept | null;
  /** Timesteps [min, max). */
  readonly range: readonly [number, number];
  /** The CLIP pair that measures the report's pictures, or its folder. */
  readonly pair: Clip | string | null;
  /** How the concept file names what was done. */
  readonly method: string;
}

/** The inputs of a search for one subject. */
export async function prepareInputs(session: Session, settings: SearchSettings): Promise<Inputs> {
  const { images, category, identifier, signal, onProgress } = settings;
  assertNotAborted(signal);
  settings.others.forEach((concept) => concept.assertBaseModel(session.fingerprint));
  const subject: Subject = { identifier, token: chooseToken(session, 'findConcept', settings, takenBy(settings.others)), category };
  const size = nativeSize(session);
  const pictureCount = images.length + (settings.priorImages?.length ?? 0);
  // What the model decides about the options comes before the work on pictures.
  const tensors = selectTensors(session.kvTensors, settings.layers);
  const range = timestepRange(session, settings);
  const subjectCaptions = captionsOf('findConcept: the option captions', settings.captions, images.length, subjectCaption(identifier, category));
  const pair = settings.report.pictures > 0 ? await findPair(session.config.folder, settings.report.clip, signal) : null;
  const needsPrior = hasPrior(settings);
  const caption = priorCaption(category);
  const priorCount = settings.priorImages?.length ?? settings.priorCount;
  const priorCaptions = needsPrior ? captionsOf('findConcept: the option priorCaptions', settings.priorCaptions, priorCount, caption) : [];

  for (const warning of singlePicture(images, identifier)) settings.onWarning?.(warning);
  onProgress?.({ phase: 'encode', step: 0, steps: pictureCount });
  const subjectMoments = await encodeImages(session, images, size, signal);
  let priorMoments: Moments | null = null;
  if (needsPrior && settings.priorImages) priorMoments = await encodeImages(session, settings.priorImages, size, signal);
  onProgress?.({ phase: 'encode', step: pictureCount, steps: pictureCount });
  if (needsPrior && !priorMoments) {
    const [, , height, width] = subjectMoments.shape;
    priorMoments = await drawPriorFor(session, settings, category, { height, width });
  }
  return {
    subjects: [subject],
    subjectMoments,
    priorMoments,
    captions: listCaptions([...subjectCaptions, ...priorCaptions]),
    tensors,
    within: null,
    union: null,
    range,
    pair,
    method: `algorithm-${settings.algorithm}${settings.straightThrough ? '-straight-through' : ''}`,
  };
}

/** Whether a search has prior rows (Eq. 3). */
export function hasPrior({ priorWeight, priorBatchSize }: Pick<SearchSettings, 'priorWeight' | 'priorBatchSize'>): boolean {
  return priorWeight > 0 && priorBatchSize !== 0;
}

export type PriorSettings = Pick<SearchSettings, 'priorCount' | 'priorGuidance' | 'cacheDir' | 'signal'> & {
  readonly onProgress?: ((progress: { readonly phase: 'prior'; readonly step: number; readonly steps: number }) => void) | undefined;
};

/** Pictures of a category without the subject, as the base model draws them. */
export async function drawPriorFor(
  session: Session,
  { priorCount, priorGuidance, cacheDir, onProgress, signal }: PriorSettings,
  category: string,
  latent: { readonly height: number; readonly width: number },
): Promise<Moments> {
  return drawPrior(session, {
    caption: priorCaption(category),
    count: priorCount,
    guidance: priorGuidance,
    latent,
    cacheDir: cacheDir === undefined ? defaultCacheDir() : cacheDir,
    onPicture: (step) => onProgress?.({ phase: 'prior', step, steps: priorCount }),
    signal,
  });
}

/** `V2*` takes the model's second rare token, so that concepts found apart can be drawn together. */
export function chooseToken(session: Session, call: string, { identifier, token }: Pick<SearchSettings, 'identifier' | 'token'>, taken: readonly string[]): string {
  if (token !== undefined) {
    if (session.tokenizer.tokenId(token) === null) {
      throw new ConesError(
        'CONES_OPTION_INVALID',
        `${call}: the option token: "${token}" is not a single token of this model; try ${session.rareTokens.slice(0, 3).join(', ')}.`,
      );
    }
    return token;
  }
  const number = /^V(\d+)\*$/i.exec(identifier)?.[1];
  const first = number === undefined ? 0 : (Number(number) - 1) % session.rareTokens.length;
  const candidates = [...session.rareTokens.slice(Math.max(first, 0)), ...session.rareTokens.slice(0, Math.max(first, 0))];
  return freeToken(session.tokenizer, candidates, taken);
}

function takenBy(others: readonly Concept[]): string[] {
  return others.flatMap(({ subjects }) => subjects.map((subject) => subject.token));
}

/** The captions of each of `count` pictures; `what`: the option, as a message names it. */
export function captionsOf(
  what: string,
  given: readonly (string | readonly string[])[] | undefined,
  count: number,
  fallback: string,
): string[][] {
  if (given && given.length !== count) {
    throw new ConesError('CONES_OPTION_INVALID', `${what} has ${given.length} entries for ${count} pictures; give one each.`);
  }
  return Array.from({ length: count }, (_, i) => [given?.[i] ?? fallback].flat());
}

/** @throws ConesError CONES_OPTION_INVALID */
export function timestepRange(session: Session, { timesteps }: Pick<SearchSettings, 'timesteps'>): [number, number] {
  const { numTrainTimesteps } = session.config.scheduler;
  const [min, max] = timesteps ?? [0, numTrainTimesteps];
  if (min >= max || max > numTrainTimesteps) {
    throw new ConesError('CONES_OPTION_INVALID', `The option timesteps must be [min, max) within [0, ${numTrainTimesteps}).`);
  }
  return [min, max];
}
