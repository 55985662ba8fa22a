import type { Command } from 'commander';
import { addEngineFlags, addOutputFlags, type EngineFlags, type OutputFlags } from './arguments';
import { addFindFlags, type FindFlags, findOptions } from './find-flags';
import type { Io } from './io';
import { addStateFlags, type SearchOutput, searchToFile } from './search-run';

interface Flags extends FindFlags, EngineFlags, OutputFlags, SearchOutput {}

/** `cones find`: the concept neurons of a subject, from pictures to a concept file. */
export function addFind(program: Command, io: Io): void {
  const command = program
    .command('find')
    .description('Find the concept neurons of a subject in three to five pictures.')
    .argument('[images...]', 'pictures of the subject, or a folder with them and perhaps captions.json')
    .requiredOption('-o, --output <file>', 'concept file to write, such as cat.cones');
  addStateFlags(addFindFlags(command));
  addEngineFlags(command);
  addOutputFlags(command, { long: true });
  command.action((images: string[], flags: Flags) => find(images, flags, io));
}

async function find(images: readonly string[], flags: Flags, io: Io): Promise<void> {
  const since = performance.now();
  const options = await findOptions(images, flags);
  await searchToFile(io, flags, { options, since }, (engine, all) => engine.startSearch(all));
}
