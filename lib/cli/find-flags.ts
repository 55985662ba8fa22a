import { stat } from 'node:fs/promises';
import type { Command } from 'commander';
import type { Checkpointing } from '../engine/checkpointing';
import { ConesError } from '../errors';
import { readJsonFile, readRegularFile } from '../util/files';
import { type FindConceptOptions, searchSettings } from '../methods/cones/options';
import { readSubject, type SubjectFolder } from '../methods/shared/subject-folder';
import { type AllOptions, number, numbers, seed } from './arguments';
import { loadConcept } from './concept-argument';

/** Flags that `cones find` and `cones refine` share. */
export interface SharedFlags {
  readonly priorCount?: number;
  readonly priorGuidance?: number;
  readonly priorWeight?: number;
  readonly priorBatchSize?: number;
  readonly cacheDir?: string;
  readonly cache: boolean;
  readonly learningRate?: number;
  readonly steps?: number;
  readonly batchSize?: number;
  readonly timesteps?: readonly number[];
  readonly seed?: number | bigint;
  readonly checkpointing?: Checkpointing;
  readonly reportRows?: number;
  readonly resume?: string;
}

/** Flags of `cones find`: all of FindConceptOptions. */
export interface FindFlags extends SharedFlags {
  readonly category?: string;
  readonly identifier?: string;
  readonly token?: string;
  readonly others?: readonly string[];
  readonly captions?: string;
  readonly priorImages?: readonly string[];
  readonly priorCaptions?: string;
  readonly algorithm?: string;
  readonly optimizer?: string;
  readonly scaleLearningRate?: boolean;
  readonly clamp?: boolean;
  readonly straightThrough?: boolean;
  readonly ranking?: string;
  readonly density?: number | 'auto';
  readonly threshold?: number;
  readonly self?: boolean;
  readonly cross?: boolean;
  readonly keys?: boolean;
  readonly values?: boolean;
  readonly learnEmbedding?: boolean;
  readonly embeddingRate?: number;
  readonly embeddingNorm?: number;
  readonly embeddingInit?: string;
  readonly densities?: readonly number[];
  readonly reportPictures?: number;
  readonly otherCategory?: string;
  readonly reportSteps?: number;
  readonly clip?: string | false;
}

/** The engine's own defaults, told in the help; the flags have none. */
export const defaults = searchSettings({ images: [], category: '-' });
const { report } = defaults;

export function addPriorFlags(command: Command): Command {
  return command
    .optionsGroup('Prior preservation (Eq. 3 and 4):')
    .option('--prior-count <n>', `prior pictures to draw (default: ${defaults.priorCount})`, number)
    .option('--prior-guidance <scale>', `classifier-free guidance of these pictures; up to 1: none (default: ${defaults.priorGuidance})`, number)
    .option('--prior-weight <λ>', `weight of the prior loss; 0: none (default: ${defaults.priorWeight})`, number)
    .option('--prior-batch-size <n>', 'prior pictures per step (default: as many as subject pictures)', number)
    .option('--cache-dir <folder>', "where drawn prior pictures are kept (default: cones/ in the user's cache folder)")
    .option('--no-cache', 'do not keep drawn prior pictures');
}

/** What every search has for its steps. */
export function addStepFlags(command: Command): Command {
  return command
    .option('--steps <K>', `steps of the search (default: ${defaults.steps})`, number)
    .option('--batch-size <n>', `subject pictures per step (default: ${defaults.batchSize})`, number)
    .option('--learning-rate <rate>', `learning rate of ξ (default: ${defaults.learningRate})`, number)
    .option('--timesteps <min,max>', 'draw timesteps from [min, max) (default: all)', numbers)
    .option('--seed <n>', `everything random is a function of it (default: ${defaults.seed})`, seed)
    .option('--checkpointing [light]', 'recompute activations: less memory, more time; light: some of them (default: as memory asks for it)')
    .option('--no-checkpointing');
}

export function addFindFlags(command: Command): Command {
  command
    .option('--category <name>', 'what the subject is, such as cat (needed unless captions.json in the folder says it)')
    .option('--identifier <name>', `how prompts will name the subject (default: ${defaults.identifier})`)
    .option('--token <word>', 'the rare word that the model sees for the identifier (default: the next that is free)')
    .option('--others <concept...>', 'concept files to be drawn together with this one: their tokens are not taken')
    .option('--captions <file>', 'JSON list with a caption, or a list of alternatives, per picture, with the identifier in them (default: "photo of a V1* cat")');

  addPriorFlags(command)
    .option('--prior-images <file...>', 'pictures of the category without the subject (default: drawn by the model)')
    .option('--prior-captions <file>', 'JSON list with a caption per prior picture (default: "photo of a cat")')

    .optionsGroup('Search (§3.1):');

  return addStepFlags(command)
    .option('--algorithm <name>', `'a2' or '1' (default: ${defaults.algorithm})`)
    .option('--optimizer <name>', `'adam' or 'sgd' (default: ${defaults.optimizer})`)
    .option('--scale-learning-rate', 'multiply the learning rate by the batch size, as the paper')
    .option('--clamp', `keep ξ within [0, 1] (default: ${defaults.clamp})`)
    .option('--no-clamp')
    .option('--straight-through', `see the mask itself in every step, instead of ξ (default: ${defaults.straightThrough})`)
    .option('--no-straight-through', "see ξ ⊙ θ in every step, as in the paper, and sweep densities")
    .option('--no-self', 'leave out self-attention')
    .option('--no-cross', 'leave out cross-attention')
    .option('--no-keys', 'leave out key projections')
    .option('--no-values', 'leave out value projections')
    .option('--learn-embedding', `also learn the identifier's token embedding, kept in the concept (default: ${defaults.learnEmbedding}, if a caption has it)`)
    .option('--no-learn-embedding', 'neurons alone, as in the paper')
    .option('--embedding-rate <rate>', `its learning rate (default: ${defaults.embeddingRate})`, number)
    .option('--embedding-norm <factor>', 'it is kept to so many times the length of a word (default: it may grow)', number)
    .option('--embedding-init <name>', `where it starts, at the 'token' or at the 'category' (default: ${defaults.embeddingInit})`)

    .optionsGroup('Selection and report:')
    .option('--ranking <name>', `rank neurons by 'displacement' or 'score' (default: ${defaults.ranking})`)
    .option('--density <fraction>', `fraction of the searched weights to zero, or auto: the best of --densities (default: ${defaults.density})`, density)
    .option('--threshold <τ>', 'zero what ranks above τ instead of a given density', number)
    .option('--densities <list>', `densities to try (default: ${report.densities.join()})`, numbers)
    .option('--report-rows <n>', `rows of held-out noise (default: ${report.rows})`, number)
    .option('--report-pictures <n>', `pictures per prompt for likeness and specificity; 0: none (default: ${report.pictures})`, number)
    .option('--report-steps <n>', `solver steps of these pictures (default: ${report.steps})`, number)
    .option('--other-category <name>', 'another category, which should not change (default: dog, or cat for a dog)')
    .option('--clip <folder>', 'CLIP pair that measures these pictures (default: the folder MODEL-clip beside the model, if there is one)')
    .option('--no-clip', 'measure colours only')

    .optionsGroup('Interruption:')
    .option('--resume <file>', 'go on from a saved search, with the same other flags');
}

/** What {@link SharedFlags} say, but for the report. */
export async function sharedOptions(flags: SharedFlags) {
  const { priorCount, priorGuidance, priorWeight, priorBatchSize, learningRate, steps, batchSize, timesteps, seed, checkpointing } = flags;
  return {
    ...{ priorCount, priorGuidance, priorWeight, priorBatchSize, learningRate, steps, batchSize, timesteps, seed, checkpointing },
    cacheDir: flags.cache ? flags.cacheDir : null,
    resume: flags.resume === undefined ? undefined : await readRegularFile(flags.resume),
  };
}

/** Reads the files that the flags name. A folder in place of pictures is a subject's (lib/methods/shared/subject-folder.ts); flags go first. */
export async function findOptions(pictures: readonly string[], flags: FindFlags): Promise<FindConceptOptions> {
  const { images, category, captions } = await readPictures(pictures, flags);
  const { self, cross, keys, values, reportRows, densities, reportPictures, otherCategory, reportSteps, clip } = flags;
  const options = {
    ...(await sharedOptions(flags)),
    images,
    category,
    identifier: flags.identifier,
    token: flags.token,
    others: await Promise.all((flags.others ?? []).map(loadConcept)),
    captions: (await readCaptions(flags.captions)) ?? captions,
    priorImages: flags.priorImages,
    priorCaptions: await readCaptions(flags.priorCaptions),
    algorithm: flags.algorithm,
    optimizer: flags.optimizer,
    scaleLearningRate: flags.scaleLearningRate,
    clamp: flags.clamp,
    straightThrough: flags.straightThrough,
    ranking: flags.ranking,
    density: flags.density,
    threshold: flags.threshold,
    layers: { self, cross, keys, values },
    learnEmbedding: flags.learnEmbedding,
    embeddingRate: flags.embeddingRate,
    embeddingNorm: flags.embeddingNorm,
    embeddingInit: flags.embeddingInit,
    report: { rows: reportRows, densities, pictures: reportPictures, otherCategory, steps: reportSteps, clip: clip === false ? null : clip },
  } satisfies AllOptions<FindConceptOptions>;
  // Whether the values make sense is for the engine to say; better before the model is loaded than after.
  searchSettings(options as FindConceptOptions);
  return options as FindConceptOptions;
}

async function readPictures(pictures: readonly string[], { identifier, category }: FindFlags): Promise<Omit<SubjectFolder, 'identifier'>> {
  const [folder] = pictures;
  const isFolder = folder !== undefined && pictures.length === 1 && (await stat(folder).catch(() => null))?.isDirectory();
  if (isFolder) return readSubject(folder, { identifier, category });
  if (category === undefined) throw new ConesError('CONES_OPTION_INVALID', 'Say what the subject is, such as --category cat.');
  return { images: pictures, category };
}

function density(text: string): number | 'auto' {
  return text === 'auto' ? text : number(text);
}

/** The file's JSON as it is: the engine checks it. */
async function readCaptions(file: string | undefined): Promise<unknown> {
  return file === undefined ? undefined : readJsonFile(file, 'JSON list of captions');
}
