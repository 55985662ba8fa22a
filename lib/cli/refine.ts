import type { Command } from 'commander';
import { ConesError } from '../errors';
import { REFINED_DENSITY, type RefineConceptsOptions, refineSettings, type RefineSubject } from '../methods/cones/refine-options';
import { readSubject } from '../methods/shared/subject-folder';
import { addEngineFlags, addOutputFlags, type AllOptions, type EngineFlags, number, type OutputFlags } from './arguments';
import { loadConcept } from './concept-argument';
import { addPriorFlags, addStepFlags, defaults, sharedOptions, type SharedFlags } from './find-flags';
import type { Io } from './io';
import { addStateFlags, type SearchOutput, searchToFile } from './search-run';

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
    .option('--density <fraction>', `fraction of all weights to zero (default: ${REFINED_DENSITY}; half of the union with --within union)`, number)
    .option('--report-rows <n>', `rows of held-out noise (default: ${defaults.report.rows})`, number)
    .option('--resume <file>', 'go on from a saved refinement, with the same other flags');
  addStateFlags(addStepFlags(command));
  addPriorFlags(command);
  addEngineFlags(command);
  addOutputFlags(command, { long: true });
  command.action((files: string[], flags: Flags) => refine(files, flags, io));
}

async function refine(files: readonly string[], flags: Flags, io: Io): Promise<void> {
  const since = performance.now();
  const { within, compose, density, reportRows } = flags;
  const options = {
    ...(await sharedOptions(flags)),
    subjects: await readSubjects(files),
    within,
    compose,
    density,
    report: { rows: reportRows },
  } satisfies AllOptions<RefineConceptsOptions>;
  // Better before the model is loaded than after.
  refineSettings(options as RefineConceptsOptions);
  await searchToFile(io, flags, { options: options as RefineConceptsOptions, since }, (engine, all) => engine.startRefinement(all));
}

async function readSubjects(files: readonly string[]): Promise<RefineSubject[]> {
  const subjects: RefineSubject[] = [];
  for (let i = 0; i < files.length; i += 2) {
    const [file, folder] = [files[i]!, files[i + 1]];
    if (folder === undefined) {
      throw new ConesError('CONES_OPTION_INVALID', `${file} has no folder of pictures after it: give each concept file with its subject's folder, as in cat.cones pictures/cat.`);
    }
    const concept = await loadConcept(file);
    const [subject] = concept.subjects;
    const { images, captions } = await readSubject(folder, { identifier: subject?.identifier, category: subject?.category });
    subjects.push({ concept, images, ...(captions ? { captions } : {}) });
  }
  return subjects;
}
