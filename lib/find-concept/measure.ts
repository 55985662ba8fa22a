import { type Concept, type Json, type Subject } from '../concept';
import { generate } from '../engine/generate';
import type { Session } from '../engine/session';
import type { GeneratedImage } from '../generated-image';
import { colourHistogram, histogramIntersection, meanDifference } from '../metrics';
import { loadImage } from '../images';
import { nativeSize } from '../engine/pictures';
import { priorCaption, subjectCaption } from '../prompt';
import type { SearchSettings } from './options';
import { type HeldOut, type Losses, meanLoss, randomLike, smallRandom, type SweepEntry } from './report';

interface Found {
  readonly subject: Subject;
  readonly heldOut: { readonly subject: HeldOut; readonly prior: HeldOut | null };
  readonly selection: { readonly density?: number | 'auto'; readonly threshold?: number | undefined };
  readonly select: (choice: { density?: number; threshold?: number }) => Promise<Concept>;
}

/** What a concept file's `report` holds; see lib/find-concept/report.ts for why. */
export interface SearchReport {
  /** Held-out losses of the untouched model, with the concept's neurons shut, and with as many random weights shut. */
  readonly loss: { readonly untouched: Losses; readonly shut: Losses; readonly random: Losses };
  /** The same at other densities, when the density was chosen by measurement. */
  readonly sweep: readonly SweepEntry[];
  /** Null when no pictures were asked for. */
  readonly pictures: PictureReport | null;
}

/** Likeness by colour histograms (0 … 1), before and after shutting. */
export interface PictureReport {
  /** Of the pictures of one prompt to the subject's own pictures. */
  readonly likeness: Readonly<Record<'identifier' | 'category' | 'other', { readonly untouched: number; readonly shut: number }>>;
  /** Mean absolute difference that shutting makes to pictures without the identifier, 0 … 1: lower is more specific. */
  readonly change: { readonly category: number; readonly other: number };
  readonly prompts: Readonly<Record<'identifier' | 'category' | 'other', string>>;
}

/** Chooses the density where it is not given, and measures the result. */
export async function measure(session: Session, settings: SearchSettings, found: Found): Promise<Concept> {
  const { selection, select } = found;
  const sweep: SweepEntry[] = [];
  const auto = selection.threshold === undefined && (selection.density ?? 'auto') === 'auto';
  const { report, signal, onProgress } = settings;
  const total = (auto ? report.densities.length : 1) + 2 + (report.pictures > 0 ? 1 : 0);
  let done = 0;
  const progress = () => onProgress?.({ phase: 'report', step: done++, steps: total });

  const losses = async (concept: Concept | null): Promise<Losses> => {
    progress();
    const mask = concept && (await session.mask(concept));
    return {
      subject: await meanLoss(session, found.heldOut.subject, mask, signal),
      prior: found.heldOut.prior ? await meanLoss(session, found.heldOut.prior, mask, signal) : 0,
    };
  };

  let concept: Concept;
  let shut: Losses;
  if (auto) {
    let best: { concept: Concept; losses: Losses; total: number } | undefined;
    for (const density of report.densities) {
      const candidate = await select({ density });
      const measured = await losses(candidate);
      sweep.push({ density, neurons: candidate.neuronCount, ...measured });
      const sum = measured.subject + settings.priorWeight * measured.prior;
      if (!best || sum < best.total) best = { concept: candidate, losses: measured, total: sum };
    }
    ({ concept, losses: shut } = best!);
  } else {
    concept = await select(
      selection.threshold === undefined ? { density: selection.density as number } : { threshold: selection.threshold },
    );
    shut = await losses(concept);
  }

  const untouched = await losses(null);
  const random = await losses(randomConcept(concept, Number(BigInt.asUintN(32, BigInt(settings.seed)))));
  if (report.pictures > 0) progress();
  const pictures = report.pictures > 0 ? await comparePictures(session, settings, found.subject, concept) : null;
  progress();
  const result: SearchReport = { loss: { untouched, shut, random }, sweep, pictures };
  return concept.with({ report: result as unknown as { [key: string]: Json } });
}

/** As many random neurons in every weight as the concept has. */
function randomConcept(concept: Concept, seed: number): Concept {
  const entries = [...concept.tensors];
  const sizes = entries.map(([, { shape }]) => shape.reduce((a, b) => a * b, 1));
  const indices = randomLike(entries.map(([, tensor]) => tensor.indices), sizes, smallRandom(seed));
  return concept.with({ tensors: new Map(entries.map(([name, { shape }], i) => [name, { shape, indices: indices[i]! }])) });
}

async function comparePictures(session: Session, settings: SearchSettings, subject: Subject, concept: Concept): Promise<PictureReport> {
  const { report, signal } = settings;
  const other = report.otherCategory ?? (subject.category.toLowerCase() === 'dog' ? 'cat' : 'dog');
  const prompts = {
    identifier: subjectCaption(subject.identifier, subject.category),
    category: priorCaption(subject.category),
    other: priorCaption(other),
  };
  const names = Object.keys(prompts) as (keyof typeof prompts)[];
  const draw = async (concepts: readonly Concept[]) => {
    // The untouched model knows no identifier: it gets the rare token itself.
    const list = names.map((name) => (concepts.length === 0 ? prompts[name].replace(subject.identifier, subject.token) : prompts[name]));
    const { images } = await generate(session, {
      prompt: list,
      concepts,
      count: report.pictures,
      seed: settings.seed,
      steps: report.steps,
      ...(signal ? { signal } : {}),
    });
    return new Map(names.map((name, i) => [name, images.slice(i * report.pictures, (i + 1) * report.pictures)]));
  };
  const untouched = await draw([]);
  const shut = await draw([concept]);

  const size = nativeSize(session);
  const references = await Promise.all(
    settings.images.map(async (image) => colourHistogram({ ...size, data: await loadImage(image, size) })),
  );
  const likeness = (images: readonly GeneratedImage[]) =>
    mean(images.map((image) => mean(references.map((reference) => histogramIntersection(colourHistogram(image), reference)))));
  const change = (name: 'category' | 'other') =>
    mean(shut.get(name)!.map((image, i) => meanDifference(image, untouched.get(name)![i]!)));
  const both = (name: keyof typeof prompts) => ({ untouched: likeness(untouched.get(name)!), shut: likeness(shut.get(name)!) });
  return {
    likeness: { identifier: both('identifier'), category: both('category'), other: both('other') },
    change: { category: change('category'), other: change('other') },
    prompts,
  };
}

function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}
