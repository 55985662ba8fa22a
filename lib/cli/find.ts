import type { Command } from 'commander';
import type { SearchProgress } from '../find-concept/options';
import { addEngineFlags, addOutputFlags, type EngineFlags, loadEngine, type OutputFlags } from './arguments';
import { addFindFlags, type FindFlags, findOptions } from './find-flags';
import { assertWritable, type Io } from './io';
import { ProgressBars } from './progress';
import { addStateFlag, barOf, printFound, runToFile, type SearchOutput } from './search-run';

interface Flags extends FindFlags, EngineFlags, OutputFlags, SearchOutput {}

/** `cones find`: the concept neurons of a subject, from pictures to a concept file. */
export function addFind(program: Command, io: Io): void {
  const command = program
    .command('find')
    .description('Find the concept neurons of a subject in three to five pictures.')
    .argument('[images...]', 'pictures of the subject, or a folder with them and perhaps captions.json')
    .requiredOption('-o, --output <file>', 'concept file to write, such as cat.cones');
  addStateFlag(addFindFlags(command));
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
  const concept = await runToFile(search, flags);
  bars.stop();
  printFound(io, engine, concept, flags, { seed: String(options.seed ?? 0), milliseconds: Math.round(performance.now() - start) });
}
