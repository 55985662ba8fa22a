/**
 * Several subjects together (paper §3.3): a search on the sum of their concept-implanting losses, so that their neurons agree.
 *
 * A union of masks is made of answers to separate questions, and no training picture shows two subjects. So half of the
 * pictures here are composed of two (compose.ts), and, unlike in the paper, neurons outside the union may be found.
 */
import { setImmediate } from 'node:timers/promises';
import type { Concept, Subject } from '../../concept';
import { encodeImages, type Moments, nativeSize } from '../../engine/pictures';
import { assertNotAborted, type Session } from '../../engine/session';
import { ConesError } from '../../errors';
import type { ImageInput } from '../../images/images';
import { indefiniteArticle, priorCaption, subjectCaption } from '../../text/prompt';
import { listCaptions } from '../shared/captions';
import { sideBySide } from './compose';
import { captionsOf, drawPriorFor, hasPrior, type Inputs, timestepRange } from '../shared/inputs';
import { takeTurns } from '../shared/take-turns';
import { joinMoments, splitMoments } from '../shared/moments';
import type { RefineSettings } from './refine-options';
import { singlePicture } from './search-warnings';

/** Composed pictures are kept as files until they are encoded. */
const MOST_COMPOSED = 100;

/** A picture with the captions that it may have. */
interface Captioned<Picture> {
  readonly picture: Picture;
  readonly captions: readonly string[];
}

/** The inputs of a joint refinement. */
export async function refineInputs(session: Session, settings: RefineSettings): Promise<Inputs> {
  const { subjects, union, within, search } = settings;
  const { signal, onProgress } = search;
  assertNotAborted(signal);
  union.assertBaseModel(session.fingerprint);
  const tensors = searchedTensors(session, union);
  const range = timestepRange(session, search);
  const perSubject = subjects.map(({ images, captions, subject }, i) => {
    if (images.length === 0) throw new ConesError('CONES_IMAGES_MISSING', `refineConcepts: there are no pictures of ${subject.identifier}; give those that it was found with.`);
    const said = captionsOf(`refineConcepts: the option subjects.${i}.captions`, captions, images.length, subjectCaption(subject.identifier, subject.category));
    return images.map((picture, n): Captioned<ImageInput> => ({ picture, captions: said[n]! }));
  });
  const priorCaptions = subjects.map(({ priorImages, priorCaptions: given, subject }, i) =>
    captionsOf(`refineConcepts: the option subjects.${i}.priorCaptions`, given, priorImages?.length ?? search.priorCount, priorCaption(subject.category)),
  );

  const size = nativeSize(session);
  const alone = takeTurns(perSubject);
  const together = settings.compose ? await composePictures(perSubject, subjects.map(({ subject }) => subject), Math.min(alone.length, MOST_COMPOSED), size, signal) : [];
  const pictures = takeTurns(settings.compose ? [alone, together] : [alone]);
  const needsPrior = hasPrior(search);
  const steps = pictures.length + (needsPrior ? subjects.reduce((sum, { priorImages }) => sum + (priorImages?.length ?? 0), 0) : 0);
  for (const warning of subjects.flatMap(({ images, subject }) => singlePicture(images, subject.identifier))) search.onWarning?.(warning);
  onProgress?.({ phase: 'encode', step: 0, steps });
  const subjectMoments = await encodeOnce(session, pictures.map(({ picture }) => picture), size, signal);
  const [, , height, width] = subjectMoments.shape;
  const givenPriors: (Moments | null)[] = [];
  for (const { priorImages } of needsPrior ? subjects : []) givenPriors.push(priorImages ? await encodeImages(session, priorImages, size, signal) : null);
  onProgress?.({ phase: 'encode', step: steps, steps });
  const priors: Captioned<Moments>[][] = [];
  for (const [i, given] of givenPriors.entries()) {
    const moments = given ?? (await drawPriorFor(session, search, subjects[i]!.subject.category, { height, width }));
    priors.push(splitMoments(moments).map((picture, n) => ({ picture, captions: priorCaptions[i]![n]! })));
  }
  const prior = takeTurns(priors);
  return {
    subjects: subjects.map(({ subject }) => subject),
    subjectMoments,
    priorMoments: prior.length > 0 ? joinMoments(prior.map(({ picture }) => picture)) : null,
    captions: listCaptions([...pictures, ...prior].map(({ captions }) => captions)),
    tensors,
    within: within === 'union' ? union : null,
    union,
    range,
    pair: null,
    method: within === 'union' ? 'refinement-within-union' : 'refinement',
  };
}

/** Moments of a list of pictures that may have one more than once. */
async function encodeOnce(session: Session, pictures: readonly ImageInput[], size: { width: number; height: number }, signal: AbortSignal | undefined): Promise<Moments> {
  const different = [...new Set(pictures)];
  const moments = splitMoments(await encodeImages(session, different, size, signal));
  const of = new Map(different.map((picture, i) => [picture, moments[i]!]));
  return joinMoments(pictures.map((picture) => of.get(picture)!));
}

/** The weights among which the concepts were found. */
function searchedTensors(session: Session, union: Concept): number[] {
  const { tensors } = union;
  return session.kvTensors.flatMap(({ name }, index) => (tensors.has(name) ? [index] : []));
}

/** `count` pictures of two subjects each: the pairs in turn, either one at the left, and every picture of the one with every one of the other. */
async function composePictures(
  pictures: readonly (readonly Captioned<ImageInput>[])[],
  subjects: readonly Subject[],
  count: number,
  size: { readonly width: number; readonly height: number },
  signal: AbortSignal | undefined,
): Promise<Captioned<ImageInput>[]> {
  const pairs = subjects.flatMap((_, a) => subjects.slice(a + 1).map((_, later) => [a, a + 1 + later] as const));
  const composed: Captioned<ImageInput>[] = [];
  for (let i = 0; i < count; i++) {
    assertNotAborted(signal);
    const [a, b] = pairs[i % pairs.length]!;
    const round = Math.floor(i / pairs.length);
    const chosen = combination(round, pictures[a]!.length, pictures[b]!.length);
    const both = [a, b].map((subject, n) => ({ subject: subjects[subject]!, picture: pictures[subject]![chosen[n]!]!.picture }));
    const [left, right] = (round % 2 === 0 ? both : both.reverse()) as [(typeof both)[0], (typeof both)[0]];
    composed.push({ picture: await sideBySide(left.picture, right.picture, size), captions: togetherCaptions(left.subject, right.subject) });
    await setImmediate();
  }
  return composed;
}

/** The `round`-th pair of `a` and `b` things, both of which change every time; after a·b rounds all were there. */
function combination(round: number, a: number, b: number): [number, number] {
  const gcd = (x: number, y: number): number => (y === 0 ? x : gcd(y, x % y));
  const cycle = (a * b) / gcd(a, b);
  return [round % a, (round + Math.floor(round / cycle)) % b];
}

/** The ways to say a picture of two, the left one and the right one. */
function togetherCaptions(left: Subject, right: Subject): string[] {
  const [a, b] = [left, right].map(({ identifier, category }) => `${indefiniteArticle(identifier)} ${identifier} ${category}`);
  return [`photo of ${a} next to ${b}`, `photo of ${b} next to ${a}`, `photo of ${a} and ${b}`, `photo of ${a} to the left of ${b}`];
}
