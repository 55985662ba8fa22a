import type { Command } from 'commander';
import type { Concept } from '../concept';
import { AbortError } from '../errors';
import { writeFileAtomic } from '../files';
import type { SearchProgress } from '../find-concept/options';
import type { ConceptSearch } from '../find-concept/search';
import { addEngineFlags, addOutputFlags, type EngineFlags, loadEngine, type OutputFlags } from './arguments';
import { describeConcept } from './describe-concept';
import { addFindFlags, type FindFlags, findOptions } from './find-flags';
import { assertWritable, type Io, printJson, printLines } from './io';
import { duration, type Progress, ProgressBars } from './progress';

interface Flags extends FindFlags, EngineFlags, OutputFlags {
  readonly output: string;
  readonly state?: string;
}

/** `cones find`: the concept neurons of a subject, from pictures to a concept file. */
export function addFind(program: Command, io: Io): void {
  const command = program
    .command('find')
    .description('Find the concept neurons of a subject in three to five pictures.')
    .argument('[images...]', 'pictures of the subject, or a folder with them and perhaps captions.json')
    .requiredOption('-o, --output <file>', 'concept file to write, such as cat.cones');
  addFindFlags(command).option('--state <file>', 'keep the search there, when done as well as when interrupted (default: only when interrupted, in OUTPUT.state)');
  addEngineFlags(command);
  addOutputFlags(command);
  command.action((images: string[], flags: Flags) => find(images, flags, io));
}

async function find(images: readonly string[], flags: Flags, io: Io): Promise<void> {
  const start = performance.now();
  const options = await findOptions(images, flags);
  const { output, state } = flags;
  await Promise.all([output, state ?? output].map(assertWritable));

  await using engine = await loadEngine(flags);
  using bars = new ProgressBars(io);
  const onProgress = (progress: SearchProgress) => bars.update(barOf(progress));
  const search = await engine.startSearch({ ...options, signal: io.signal, onProgress });
  let concept: Concept;
  try {
    await search.run();
    if (state !== undefined) await saveState(search, state);
    concept = await search.finish();
  } catch (error) {
    if (!(error instanceof AbortError)) throw error;
    const file = state ?? `${output}.state`;
    await saveState(search, file);
    throw new AbortError(`Interrupted after ${search.step} steps. The search is saved: run the same command with --resume ${file} to go on.`, { cause: error });
  } finally {
    search.dispose();
  }
  await concept.save(output);
  bars.stop();

  const seed = String(options.seed ?? 0);
  const milliseconds = Math.round(performance.now() - start);
  const peakMemory = engine.memory().peak;
  const info = concept.info();
  if (flags.json) {
    printJson(io, { file: output, seed, milliseconds, peakMemory, concept: info });
  } else {
    const cost = `Seed ${seed}; ${duration(milliseconds)} min; at most ${(peakMemory / 2 ** 20).toFixed(0)} MiB.`;
    printLines(io, [...describeConcept(output, info), '', cost]);
  }
}

async function saveState(search: ConceptSearch, file: string): Promise<void> {
  await writeFileAtomic(file, await search.save());
}

function barOf({ phase, step, steps, loss, msPerStep, remainingMs }: SearchProgress): Progress {
  const detail = loss === undefined || msPerStep === undefined ? undefined : `loss ${loss.toFixed(4)}, ${msPerStep.toFixed(0)} ms/step`;
  return { label: phase, step, steps, remainingMs, detail };
}
