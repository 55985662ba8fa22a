import type { Command } from 'commander';
import { pullModel } from '../models/hub';
import { addOutputFlags, type OutputFlags } from './arguments';
import { DownloadBar, licenseLine } from './download-bar';
import { type Io, printJson, printLines } from './io';

/** `cones pull`: a model from the hub into the cache. */
export function addPull(program: Command, io: Io): void {
  const command = program
    .command('pull')
    .description('Download a model from the Hugging Face hub, or what is new of it, into the cache that Python uses, too.')
    .argument('<model>', 'organisation/model, with @revision for another branch, tag or commit than main; --model hf:organisation/model then loads it');
  addOutputFlags(command);
  command.action((model: string, flags: OutputFlags) => pull(model, flags, io));
}

async function pull(name: string, flags: OutputFlags, io: Io): Promise<void> {
  const pulled = await download(name, io);
  if (flags.json) return printJson(io, pulled);
  const { model, commit, folder, license, files } = pulled;
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  printLines(io, [`${model} at ${commit}: ${files.length} files, ${(bytes / 2 ** 20).toFixed(0)} MiB`, licenseLine(license), folder]);
}

async function download(name: string, io: Io): ReturnType<typeof pullModel> {
  using bar = new DownloadBar(io);
  return await pullModel(name, { signal: io.signal, onProgress: (progress) => bar.update(progress) });
}
