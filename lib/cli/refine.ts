import type { Command } from 'commander';
import { Concept } from '../concept';
import { ConesError } from '../errors';
import { readRegularFile } from '../files';
import type { SearchProgress } from '../find-concept/options';
import { type RefineConceptsOptions, refineSettings, type RefineSubject } from '../find-concept/refine-options';
import { readSubject } from '../subject-folder';
import { addEngineFlags, addOutputFlags, type AllOptions, type EngineFlags, loadEngine, number, numbers, type OutputFlags, seed } from './arguments';
import { addPriorFlags, defaults, type SharedFlags } from './find-flags';
import { assertWritable, type Io } from './io';
import { ProgressBars } from './progress';
import { addStateFlag, barOf, printFound, runToFile, type SearchOutput } from './search-run';

interface Flags extends SharedFlags, EngineFlags, OutputFlags, SearchOutput {
  readonly within?: string;
  readonly compose?: boolean;
  readonly density?: number;
}

/** `cones refine`: the neurons of several subjects, made to agree (paper §3.3). */
export function addRefine(program: Command, io: Io): void {
  const command = program
    .command('refine')
    .description('Refine the concepts of two or more subjects together, so that one picture can show them all.')
    .argument('<concepts-and-folders...>', 'each concept file, followed by the folder of its subject: cat.cones pictures/cat dog.cones pictures/dog')
    .requiredOption('-o, --output <file>', 'concept file to write, such as both.cones')
    .option('--within <what>', "'all': among all weights; 'union': within the union of the concepts, as in the paper (default: all)")
    .option('--compose', 'learn also from pictures made of two subjects side by side (default: true)')
    .option('--no-compose')
    .option('--density <fraction>', 'fraction of all weights to shut (default: 0.02; half of the union with --within union)', number)
    .option('--steps <K>', `steps of the search (default: ${defaults.steps})`, number)
    .option('--batch-size <n>', `subject pictures per step (default: ${defaults.batchSize})`, number)
    .option('--learning-rate <rate>', `learning rate of ξ (default: ${defaults.learningRate})`, number)
    .option('--timesteps <min,max>', 'draw timesteps from [min, max) (default: all)', numbers)
    .option('--seed <n>', `everything random is a function of it (default: ${defaults.seed})`, seed)
    .option('--report-rows <n>', `rows of held-out noise (default: ${defaults.report.rows})`, number)
    .option('--checkpointing', 'recompute activations: less memory, more time (default: when memory asks for it)')
    .option('--no-checkpointing')
    .option('--resume <file>', 'go on from a saved refinement, with the same other flags');
  addStateFlag(command);
  addPriorFlags(command);
  addEngineFlags(command);
  addOutputFlags(command);
  command.action((files: string[], flags: Flags) => refine(files, flags, io));
}

async function refine(files: readonly string[], flags: Flags, io: Io): Promise<void> {
  const start = performance.now();
  const { output, state } = flags;
  const options = {
    subjects: await readSubjects(files),
    within: flags.within,
    compose: flags.compose,
    density: flags.density,
    priorCount: flags.priorCount,
    priorGuidance: flags.priorGuidance,
    cacheDir: flags.cache ? flags.cacheDir : null,
    priorWeight: flags.priorWeight,
    priorBatchSize: flags.priorBatchSize,
    learningRate: flags.learningRate,
    steps: flags.steps,
    batchSize: flags.batchSize,
    timesteps: flags.timesteps,
    seed: flags.seed,
    checkpointing: flags.checkpointing,
    report: { rows: flags.reportRows },
    resume: flags.resume === undefined ? undefined : await readRegularFile(flags.resume),
  } satisfies AllOptions<RefineConceptsOptions>;
  // Better before the model is loaded than after.
  refineSettings(options as RefineConceptsOptions);
  await Promise.all([output, state ?? output].map(assertWritable));

  await using engine = await loadEngine(flags);
  using bars = new ProgressBars(io);
  const onProgress = (progress: SearchProgress) => bars.update(barOf(progress));
  const search = await engine.startRefinement({ ...(options as RefineConceptsOptions), signal: io.signal, onProgress });
  const concept = await runToFile(search, flags);
  bars.stop();
  printFound(io, engine, concept, flags, { seed: String(options.seed ?? 0), milliseconds: Math.round(performance.now() - start) });
}

async function readSubjects(files: readonly string[]): Promise<RefineSubject[]> {
  const subjects: RefineSubject[] = [];
  for (let i = 0; i < files.length; i += 2) {
    const [file, folder] = [files[i]!, files[i + 1]];
    if (folder === undefined) {
      throw new ConesError('CONES_OPTION_INVALID', `${file} has no folder of pictures after it: give each concept file with its subject's folder, as in cat.cones pictures/cat.`);
    }
    const concept = await Concept.load(file);
    const [subject] = concept.subjects;
    const { images, captions } = await readSubject(folder, { identifier: subject?.identifier, category: subject?.category });
    subjects.push({ concept, images, ...(captions ? { captions } : {}) });
  }
  return subjects;
}
