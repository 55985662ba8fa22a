import { z } from 'zod';
import { Concept, type Subject } from '../../concept';
import { ConesError } from '../../errors';
import { identifierKey } from '../../text/identifier-key';
import { sharesToken } from '../../text/prompt';
import type { ImageInput } from '../../images/images';
import { conceptOption, imageOption, parseOptions } from '../../util/options';
import { ownOptions } from '../../util/reading';
import { type FindConceptOptions, searchSchema, searchSettings, type SearchSettings } from './options';

/** One of the subjects that are to appear together. */
export interface RefineSubject {
  /** Its neurons, found before; their identifier, rare word and learned embedding stay what they are. */
  readonly concept: Concept;
  /** The pictures of the subject, up to 100: files or their bytes. */
  readonly images: readonly ImageInput[];
  /** Their captions, with the identifier. Default: "photo of a V1* cat". */
  readonly captions?: readonly (string | readonly string[])[];
  /** Pictures of the category without the subject. Default: drawn from the model, see `priorCount`. */
  readonly priorImages?: readonly ImageInput[];
  /** Captions of `priorImages`. Default: "photo of a cat". */
  readonly priorCaptions?: readonly string[];
}

/** Options that mean the same as in {@link FindConceptOptions}, with the same defaults. */
type Shared = Pick<
  FindConceptOptions,
  | 'priorCount' | 'priorGuidance' | 'cacheDir' | 'priorWeight' | 'learningRate' | 'steps' | 'batchSize' | 'priorBatchSize' | 'timesteps'
  | 'seed' | 'checkpointing' | 'priority' | 'resume' | 'checkpoint' | 'onProgress' | 'onWarning' | 'signal'
>;

/** Options of a joint refinement (paper §3.3). docs/log/search.md has the measurements. */
export interface RefineConceptsOptions extends Shared {
  /** Two to eight subjects, each with a concept of its own. */
  readonly subjects: readonly RefineSubject[];
  /**
   * Where neurons are sought: among all K-V weights, or within the 'union' of the concepts, as in the paper. Default 'all'.
   */
  readonly within?: 'all' | 'union';
  /**
   * Half of the subject rows show two subjects at once, in pictures made of two of the given ones side by side, whose captions
   * name both. Not in the paper, whose subjects share no training picture. Default true.
   */
  readonly compose?: boolean;
  /** Fraction of all K-V weights to shut. Default: 0.02, or half of the union with `within: 'union'`. */
  readonly density?: number;
  /** Rows of held-out noise that the result is measured on, for the subjects and as many for the prior. Default 32. */
  readonly report?: { readonly rows?: number };
}

/** The default density among all weights. */
export const REFINED_DENSITY = 0.02;

const subject = searchSchema.pick({ captions: true, priorImages: true, priorCaptions: true }).extend({
  concept: conceptOption,
  // An empty list is told as CONES_IMAGES_MISSING.
  images: z.array(imageOption).max(100),
});

const schema = searchSchema
  .pick({
    ...{ priorCount: true, priorGuidance: true, cacheDir: true, priorWeight: true, learningRate: true, steps: true, batchSize: true },
    ...{ priorBatchSize: true, timesteps: true, seed: true, checkpointing: true, priority: true, resume: true, checkpoint: true, onProgress: true, onWarning: true, signal: true },
  })
  .extend({
    subjects: z.array(subject).min(2).max(8),
    within: z.enum(['all', 'union']).default('all'),
    compose: z.boolean().default(true),
    density: z.number().gt(0).max(1).optional(),
    report: z.strictObject({ rows: z.int().min(1).max(4096).default(32) }).prefault({}),
  });

export interface RefineSettings {
  readonly subjects: readonly (RefineSubject & { readonly subject: Subject })[];
  readonly union: Concept;
  readonly within: 'all' | 'union';
  readonly compose: boolean;
  readonly search: SearchSettings;
}

/** @throws ConesError CONES_OPTION_INVALID, CONES_CONCEPT_MISMATCH when the concepts are for different models */
export function refineSettings(givenOptions: RefineConceptsOptions): RefineSettings {
  const options = ownOptions('refineConcepts', givenOptions);
  const { subjects: given, within, compose, density, report, ...shared } = parseOptions('refineConcepts', schema, options);
  const subjects = given.map((entry, i) => {
    const [subject, more] = entry.concept.subjects;
    if (subject === undefined || more !== undefined) {
      throw problem(`subjects.${i}.concept has ${entry.concept.subjects.length} subjects: give the concept of each subject by itself`);
    }
    if (entry.priorCaptions && !entry.priorImages) throw problem(`subjects.${i}.priorCaptions needs priorImages`);
    return { ...entry, subject };
  });
  const idle = (['priorCount', 'priorGuidance'] as const).find((name) => options[name] !== undefined);
  if (idle && given.every(({ priorImages }) => priorImages)) throw problem(`${idle} is for pictures that the model draws, and every subject has priorImages`);
  const [first, ...others] = given.map(({ concept }) => concept);
  // Tells, too, when two have one identifier.
  const union = Concept.union(first!, ...others);
  const names = new Set(subjects.map(({ subject }) => identifierKey(subject.identifier)));
  if (names.size < subjects.length) throw problem('subjects: two of them have the same identifier: give each subject once');
  if (subjects.some(({ subject }, i) => subjects.slice(0, i).some((other) => sharesToken(other.subject, subject)))) {
    throw problem('subjects: two of them have the same rare word and no learned embedding: find one of them again, with the option others');
  }
  if (within === 'union' && union.neuronCount === 0) throw problem("within: 'union' needs concepts that have neurons");
  const base = searchSettings({ images: [], category: subjects[0]!.subject.category, learnEmbedding: false, straightThrough: true });
  return {
    subjects,
    union,
    within,
    compose,
    search: {
      ...base,
      ...shared,
      density: density ?? (within === 'union' ? union.density / 2 : REFINED_DENSITY),
      report: { ...base.report, ...report, pictures: 0 },
    },
  };
}

function problem(what: string): ConesError {
  return new ConesError('CONES_OPTION_INVALID', `refineConcepts: the option ${what}.`);
}
