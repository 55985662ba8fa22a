/** Pictures with and without the concept's neurons shut, in numbers. */
import { setImmediate } from 'node:timers/promises';
import type { Clip } from '../clip';
import type { Concept, Subject } from '../concept';
import { generate } from '../engine/generate';
import { nativeSize } from '../engine/pictures';
import { assertNotAborted, type Session } from '../engine/session';
import type { GeneratedImage } from '../images/generated-image';
import { loadImage } from '../images/images';
import { colourHistogram, histogramIntersection, mean, meanDifference } from './metrics';
import { priorCaption, subjectCaption } from '../text/prompt';
import { usableSampler } from '../diffusion/schedule';
import { Aligner } from './alignment';
import type { SearchSettings } from '../methods/cones/options';

type PromptName = 'identifier' | 'category' | 'other';

/** A measure of the untouched model's pictures, and of those with the neurons shut. */
export interface BeforeAndAfter {
  readonly untouched: number;
  readonly shut: number;
}

/** Pictures with the identifier, with the bare category and with another category, before and after shutting. */
export interface PictureReport {
  /** Likeness of the colours to the subject's own pictures (histogram intersection, 0 … 1). */
  readonly likeness: Readonly<Record<PromptName, BeforeAndAfter>>;
  /** Cosines to the subject's pictures and to the prompt without the identifier (§4.1); null without a CLIP pair. */
  readonly alignment: Readonly<Record<PromptName, { readonly image: BeforeAndAfter; readonly text: BeforeAndAfter }>> | null;
  /** Mean absolute difference that shutting makes to pictures without the identifier, 0 … 1: lower is more specific. */
  readonly change: { readonly category: number; readonly other: number };
  readonly prompts: Readonly<Record<PromptName, string>>;
}

export type Pictures = Readonly<Record<PromptName, readonly GeneratedImage[]>>;

/** Draws the pictures and measures them. */
export async function comparePictures(
  session: Session,
  settings: SearchSettings,
  { subject, pair, untouched: known }: { readonly subject: Subject; readonly pair: Clip | string | null; readonly untouched: { pictures?: Pictures } },
  concept: Concept,
): Promise<PictureReport> {
  const other = settings.report.otherCategory ?? (subject.category.toLowerCase() === 'dog' ? 'cat' : 'dog');
  const prompts = {
    identifier: subjectCaption(subject.identifier, subject.category),
    category: priorCaption(subject.category),
    other: priorCaption(other),
  };
  // The untouched model knows no identifier: it gets the rare token itself.
  const untouched = (known.pictures ??= await draw(session, settings, { ...prompts, identifier: subjectCaption(subject.token, subject.category) }, []));
  const shut = await draw(session, settings, prompts, [concept]);
  const change = (name: 'category' | 'other') => mean(shut[name].map((image, i) => meanDifference(image, untouched[name][i]!)));
  return {
    likeness: await likenessOf(session, settings, untouched, shut),
    alignment: pair === null ? null : await alignmentOf(session, settings, pair, { ...prompts, identifier: prompts.category }, untouched, shut),
    change: { category: change('category'), other: change('other') },
    prompts,
  };
}

async function draw(
  session: Session,
  { report, seed, signal }: SearchSettings,
  prompts: Readonly<Record<PromptName, string>>,
  concepts: readonly Concept[],
): Promise<Pictures> {
  const { images } = await generate(session, {
    prompt: [prompts.identifier, prompts.category, prompts.other],
    concepts,
    count: report.pictures,
    seed,
    steps: report.steps,
    sampler: usableSampler(session.config.scheduler),
    ...(signal ? { signal } : {}),
  });
  const of = (prompt: number) => images.slice(prompt * report.pictures, (prompt + 1) * report.pictures);
  return { identifier: of(0), category: of(1), other: of(2) };
}

async function likenessOf(session: Session, settings: SearchSettings, untouched: Pictures, shut: Pictures): Promise<PictureReport['likeness']> {
  const size = nativeSize(session);
  const references = await Promise.all(
    settings.images.map(async (image) => colourHistogram({ ...size, data: await loadImage(image, size) })),
  );
  const likeness = async (images: readonly GeneratedImage[]) => {
    const perImage: number[] = [];
    for (const image of images) {
      const histogram = colourHistogram(image);
      perImage.push(mean(references.map((reference) => histogramIntersection(histogram, reference))));
      await setImmediate();
    }
    return mean(perImage);
  };
  const both = async (name: PromptName) => ({ untouched: await likeness(untouched[name]), shut: await likeness(shut[name]) });
  return { identifier: await both('identifier'), category: await both('category'), other: await both('other') };
}

async function alignmentOf(
  session: Session,
  { images, signal }: SearchSettings,
  pair: Clip | string,
  texts: Readonly<Record<PromptName, string>>,
  untouched: Pictures,
  shut: Pictures,
): Promise<PictureReport['alignment']> {
  await using aligner = await Aligner.open(pair, images, session);
  const both = async (name: PromptName) => {
    assertNotAborted(signal);
    const [before, after] = [await aligner.measure(untouched[name], texts[name]), await aligner.measure(shut[name], texts[name])];
    return { image: { untouched: before.image, shut: after.image }, text: { untouched: before.text, shut: after.text } };
  };
  return { identifier: await both('identifier'), category: await both('category'), other: await both('other') };
}
