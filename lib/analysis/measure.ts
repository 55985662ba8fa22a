import type { Clip } from '../clip';
import type { Concept, Json, Subject } from '../concept';
import type { Session } from '../engine/session';
import type { HeldOutPair } from '../methods/shared/captions';
import { comparePictures, type PictureReport, type Pictures } from './compare-pictures';
import type { LossCurve } from '../methods/shared/loss-history';
import type { SearchSettings } from '../methods/cones/options';
import { searchWorse } from '../methods/cones/search-warnings';
import { type Losses, meanLoss, randomLike, smallRandom, type SweepEntry } from './report';

/** Measures of the untouched model: a search's own, filled by the first report and used by all. */
export interface Untouched {
  losses?: Losses;
  pictures?: Pictures;
}

interface Found {
  readonly subject: Subject;
  /** What was refined. */
  readonly union: Concept | null;
  /** The CLIP pair that measures pictures, or its folder. */
  readonly pair: Clip | string | null;
  readonly untouched: Untouched;
  /** Losses of the search's steps. */
  readonly history: LossCurve;
  /** Held-out rows whose captions name this subject: a learned embedding changes what they say. */
  readonly heldOut: (subject: Subject) => Promise<HeldOutPair>;
  readonly selection: { readonly density?: number | 'auto'; readonly threshold?: number | undefined };
  readonly select: (choice: { density?: number; threshold?: number }) => Promise<Concept>;
}

/** What a concept file's `report` holds; see lib/analysis/report.ts for why. */
export interface SearchReport {
  /**
   * Held-out losses of the untouched model, with the concept's neurons shut, and with as many random weights shut; the latter
   * two with the learned embedding, if there is one: `random` tells what that does by itself. A refinement's are all with its
   * concepts' embeddings, and `union` is with their union shut instead.
   */
  readonly loss: { readonly untouched: Losses; readonly union?: Losses; readonly shut: Losses; readonly random: Losses };
  /** The same at other densities, when the density was chosen by measurement. */
  readonly sweep: readonly SweepEntry[];
  /** Null when no pictures were asked for. */
  readonly pictures: PictureReport | null;
  /** Losses of the search's own steps, which are noisy: means of up to 64 spans of equal length. */
  readonly history: LossCurve;
}

/** Chooses the density where it is not given, and measures the result. */
export async function measure(session: Session, settings: SearchSettings, found: Found): Promise<Concept> {
  const { selection, select } = found;
  const sweep: SweepEntry[] = [];
  const auto = selection.threshold === undefined && (selection.density ?? 'auto') === 'auto';
  const { report, signal, onProgress } = settings;
  const total = (auto ? report.densities.length : 1) + 2 + (report.pictures > 0 ? 1 : 0) + (found.union ? 1 : 0);
  let done = 0;
  const progress = () => onProgress?.({ phase: 'report', step: done++, steps: total });

  let plainRows: HeldOutPair | undefined;
  let learnedRows: HeldOutPair | undefined;
  const losses = async (concept: Concept | null): Promise<Losses> => {
    const mask = concept && (await session.mask(concept));
    const learned = concept?.subjects.find(({ embedding }) => embedding);
    const { subject, prior } = learned ? (learnedRows ??= await found.heldOut(learned)) : (plainRows ??= await found.heldOut(found.subject));
    return {
      subject: await meanLoss(session, subject, mask, signal),
      prior: prior ? await meanLoss(session, prior, mask, signal) : 0,
    };
  };

  let concept: Concept;
  let shut: Losses;
  if (auto) {
    let best: { concept: Concept; losses: Losses; total: number } | undefined;
    for (const density of report.densities) {
      progress();
      const candidate = await select({ density });
      const measured = await losses(candidate);
      sweep.push({ density, neurons: candidate.neuronCount, ...measured });
      const sum = measured.subject + settings.priorWeight * measured.prior;
      if (!best || sum < best.total) best = { concept: candidate, losses: measured, total: sum };
    }
    ({ concept, losses: shut } = best!);
  } else {
    progress();
    concept = await select(
      selection.threshold === undefined ? { density: selection.density as number } : { threshold: selection.threshold },
    );
    shut = await losses(concept);
  }

  progress();
  const untouched = (found.untouched.losses ??= await losses(null));
  progress();
  const random = await losses(await randomConcept(concept, Number(BigInt.asUintN(32, BigInt(settings.seed)))));
  if (report.pictures > 0) progress();
  const pictures = report.pictures > 0 ? await comparePictures(session, settings, found, concept) : null;
  if (found.union) progress();
  const union = found.union && { union: await losses(found.union) };
  progress();
  for (const warning of searchWorse({ untouched, shut, random }, settings.priorWeight)) settings.onWarning?.(warning);
  const result: SearchReport = { loss: { untouched, ...union, shut, random }, sweep, pictures, history: found.history };
  return concept.with({ report: result as unknown as { [key: string]: Json } });
}

/** As many random neurons in every weight as the concept has. */
async function randomConcept(concept: Concept, seed: number): Promise<Concept> {
  const entries = [...concept.tensors];
  const sizes = entries.map(([, { shape }]) => shape.reduce((a, b) => a * b, 1));
  const indices = await randomLike(entries.map(([, tensor]) => tensor.indices), sizes, smallRandom(seed));
  return concept.with({ tensors: new Map(entries.map(([name, { shape }], i) => [name, { shape, indices: indices[i]! }])) });
}
