/** What a training learns from: pictures of subjects, their captions and prior pictures. */
import type { Subject } from '../../concept';
import { encodeImages, type Moments, nativeSize } from '../../engine/pictures';
import { assertNotAborted, type Session } from '../../engine/session';
import { ConesError } from '../../errors';
import { priorCaption, subjectCaption } from '../../text/prompt';
import { joinMoments, splitMoments } from '../shared/moments';
import { singlePicture } from '../cones/search-warnings';
import { listCaptions } from '../shared/captions';
import type { LearningInputs } from '../shared/data-options';
import { captionsOf, chooseToken, drawPriorFor, hasPrior, timestepRange } from '../shared/inputs';
import { unnamedSubject } from '../shared/identifiers';
import { takeTurns } from '../shared/take-turns';
import { problem, type TrainSettings, type TrainSubjectSettings } from './options';
import { TEXTUAL_INVERSION_TEMPLATES } from './templates';

/** A picture with the captions that it may have. */
interface Captioned<Picture> {
  readonly picture: Picture;
  readonly captions: readonly string[];
}

export async function trainInputs(session: Session, settings: TrainSettings): Promise<LearningInputs> {
  const { signal, onProgress } = settings;
  assertNotAborted(signal);
  // What the model decides about the options comes before the work on pictures.
  const range = timestepRange(session, settings);
  const subjects = subjectsOf(session, settings);
  const captions = settings.subjects.map((subject, i) => subjectCaptions(settings, subject, i));
  const unnamed = settings.method === 'dreambooth' ? undefined : unnamedSubject(subjects, captions.flat(2));
  if (unnamed) throw problem(`captions: none has the identifier ${unnamed.identifier}, which is to be learned; put it into them`);
  const needsPrior = hasPrior(settings);
  const priorCaptions = settings.subjects.map(({ priorImages, priorCaptions: given, category }, i) =>
    needsPrior ? captionsOf(`train: the option ${place(settings, i)}priorCaptions`, given, priorImages?.length ?? settings.priorCount, priorCaption(category)) : [],
  );

  const size = nativeSize(session);
  const steps = settings.subjects.reduce((sum, { images, priorImages }) => sum + images.length + (needsPrior ? (priorImages?.length ?? 0) : 0), 0);
  for (const warning of settings.subjects.flatMap(({ images, identifier }) => singlePicture(images, identifier))) settings.onWarning?.(warning);
  onProgress?.({ phase: 'encode', step: 0, steps });
  const pictures: Captioned<Moments>[][] = [];
  for (const [i, { images }] of settings.subjects.entries()) pictures.push(captioned(await encodeImages(session, images, size, signal), captions[i]!));
  const [, , height, width] = pictures[0]![0]!.picture.shape;
  const given: (Moments | null)[] = [];
  for (const { priorImages } of needsPrior ? settings.subjects : []) given.push(priorImages ? await encodeImages(session, priorImages, size, signal) : null);
  onProgress?.({ phase: 'encode', step: steps, steps });
  const priors: Captioned<Moments>[][] = [];
  for (const [i, moments] of given.entries()) {
    priors.push(captioned(moments ?? (await drawPriorFor(session, settings, settings.subjects[i]!.category, { height, width })), priorCaptions[i]!));
  }
  const [learned, prior] = [takeTurns(pictures), takeTurns(priors)];
  return {
    subjects,
    subjectMoments: joinMoments(learned.map(({ picture }) => picture)),
    priorMoments: prior.length > 0 ? joinMoments(prior.map(({ picture }) => picture)) : null,
    captions: listCaptions([...learned, ...prior].map((one) => one.captions)),
    range,
  };
}

/** Each with a rare token that no other has. */
function subjectsOf(session: Session, settings: TrainSettings): Subject[] {
  const taken = settings.subjects.flatMap(({ token }) => token ?? []);
  return settings.subjects.map(({ identifier, token, category }) => {
    const chosen = chooseToken(session, 'train', { identifier, token }, taken);
    taken.push(chosen);
    return { identifier, token: chosen, category };
  });
}

function subjectCaptions(settings: TrainSettings, { images, captions, identifier, category }: TrainSubjectSettings, i: number): string[][] {
  if (images.length === 0) throw new ConesError('CONES_IMAGES_MISSING', `train: there are no pictures of ${identifier}; three to five of the subject work best.`);
  if (settings.method === 'textual-inversion' && !captions) {
    return images.map(() => TEXTUAL_INVERSION_TEMPLATES.map((template) => template.replace('{}', identifier)));
  }
  return captionsOf(`train: the option ${place(settings, i)}captions`, captions, images.length, subjectCaption(identifier, category));
}

function place({ subjects }: TrainSettings, i: number): string {
  return subjects.length > 1 ? `subjects.${i}.` : '';
}

function captioned(moments: Moments, captions: readonly (readonly string[])[]): Captioned<Moments>[] {
  return splitMoments(moments).map((picture, n) => ({ picture, captions: captions[n]! }));
}
