import { readdir, stat } from 'node:fs/promises';
import type { Command } from 'commander';
import type { Engine } from '../engine';
import { ConesError } from '../errors';
import { METHODS, type TrainOptions, trainSettings, type TrainSubject, WEIGHT_DECAY } from '../methods/training/options';
import type { Trained } from '../methods/training/trained';
import { readSubject } from '../methods/shared/subject-folder';
import { brief } from '../util/show';
import { addEngineFlags, addOutputFlags, type AllOptions, type EngineFlags, number, numbers, type OutputFlags, seed } from './arguments';
import { addPriorFlags, defaults, readCaptions, readPictures, sharedOptions, type SharedFlags } from './find-flags';
import { type Io, printJson, printLines } from './io';
import { duration } from './progress';
import { addStateFlags, runToResult, type SearchOutput, type Told } from './search-run';

interface Flags extends SharedFlags, EngineFlags, OutputFlags, SearchOutput {
  readonly category?: string;
  readonly identifier?: string;
  readonly token?: string;
  readonly captions?: string;
  readonly priorImages?: readonly string[];
  readonly priorCaptions?: string;
  readonly scaleLearningRate?: boolean;
  readonly optimizer?: string;
  readonly weightDecay?: number;
  readonly embeddingInit?: string;
}

/** `cones train`: the methods that the paper compares with, from pictures to files for diffusers. */
export function addTrain(program: Command, io: Io): void {
  const each = (value: (of: (typeof METHODS)[keyof typeof METHODS]) => string | number | boolean) => Object.values(METHODS).map(value).join(', ');
  const command = program
    .command('train')
    .description('Train Textual Inversion, Custom Diffusion or DreamBooth, as the paper does for comparison. Defaults of the three are told in this order.')
    .argument('<method>', Object.keys(METHODS).join(', '))
    .argument('[images...]', 'pictures of the subject, or its folder; several folders: several subjects, V1*, V2* …')
    .requiredOption('-o, --output <path>', 'what to write: a file such as learned_embeds.safetensors for Textual Inversion of one subject, else a folder')
    .option('--category <name>', 'what the subject is, such as cat (needed unless captions.json in the folder says it)')
    .option('--identifier <name>', 'how prompts will name the subject (default: V1*)')
    .option('--token <word>', 'the rare word that DreamBooth binds, or an embedding starts at (default: the next that is free)')
    .option('--captions <file>', "JSON list with a caption, or a list of alternatives, per picture, with the identifier in them (default: the method's own)");
  addPriorFlags(command)
    .option('--prior-images <file...>', 'pictures of the category without the subject (default: drawn by the model)')
    .option('--prior-captions <file>', 'JSON list with a caption per prior picture (default: "photo of a cat")')
    .optionsGroup('Training (App. B):')
    .option('--steps <n>', `steps, by default for each subject (default: ${each(({ steps }) => steps)})`, number)
    .option('--batch-size <n>', `pictures of subjects per step (default: ${each(({ batchSize }) => batchSize)})`, number)
    .option('--learning-rate <rate>', `(default: ${each(({ learningRate }) => learningRate)})`, number)
    .option('--scale-learning-rate', `multiply it by the batch size (default: ${each(({ scaleLearningRate }) => scaleLearningRate)})`)
    .option('--no-scale-learning-rate')
    .option('--optimizer <name>', "'adamw' or 'adam' (default: adamw)")
    .option('--weight-decay <decay>', `of AdamW (default: ${WEIGHT_DECAY})`, number)
    .option('--embedding-init <name>', "where learned embeddings start, at the 'token' or at the 'category' (default: category with Textual Inversion, token with Custom Diffusion)")
    .option('--timesteps <min,max>', 'draw timesteps from [min, max) (default: all)', numbers)
    .option('--seed <n>', `everything random is a function of it (default: ${defaults.seed})`, seed)
    .option('--checkpointing [light]', 'recompute activations: less memory, more time; light: some of them (default: as memory asks for it)')
    .option('--no-checkpointing')
    .optionsGroup('Interruption:')
    .option('--resume <file>', 'go on from a saved training, with the same other flags');
  addStateFlags(command, 'training');
  addEngineFlags(command);
  addOutputFlags(command, { long: true });
  command.action((method: string, images: string[], flags: Flags) => train(method, images, flags, io));
}

async function train(method: string, images: readonly string[], flags: Flags, io: Io): Promise<void> {
  const since = performance.now();
  const subjects = await readFolders(images, flags);
  const one = subjects ? undefined : await readPictures(images, flags);
  const options = {
    ...(await sharedOptions(flags)),
    method,
    subjects,
    images: one?.images,
    category: one?.category,
    captions: (await readCaptions(flags.captions)) ?? one?.captions,
    identifier: flags.identifier,
    token: flags.token,
    priorImages: flags.priorImages,
    priorCaptions: await readCaptions(flags.priorCaptions),
    scaleLearningRate: flags.scaleLearningRate,
    optimizer: flags.optimizer,
    weightDecay: flags.weightDecay,
    embeddingInit: flags.embeddingInit,
  } satisfies AllOptions<TrainOptions>;
  // Better before the model is loaded than after.
  trainSettings(options as TrainOptions);
  if (method === 'dreambooth') await assertNew(flags.output);
  await runToResult(io, flags, { name: 'training', print: printTrained }, { options: options as TrainOptions, since }, (engine, all) => engine.startTraining(all));
}

/** Several folders are several subjects; undefined otherwise. */
async function readFolders(images: readonly string[], { category }: Flags): Promise<TrainSubject[] | undefined> {
  if (images.length < 2) return undefined;
  const kinds = await Promise.all(images.map(async (name) => (await stat(name).catch(() => null))?.isDirectory()));
  if (!kinds.every(Boolean)) return undefined;
  return Promise.all(images.map(async (folder, i): Promise<TrainSubject> => readSubject(folder, { identifier: `V${i + 1}*`, category })));
}

/** What DreamBooth would not write in the end, it should not begin with. */
async function assertNew(folder: string): Promise<void> {
  const there = await readdir(folder).catch(() => []);
  if (there.length > 0) throw new ConesError('CONES_OPTION_INVALID', `${brief(folder)} is not empty: name a folder that is not there yet.`);
}

function printTrained(io: Io, engine: Engine, trained: Trained, { file, json, warnings }: Told, { seed: usedSeed, milliseconds }: { seed: string; milliseconds: number }): void {
  const peakMemory = engine.memory().peak;
  const { method, steps, subjects } = trained;
  const told = subjects.map(({ identifier, token, category }) => ({ identifier, token, category }));
  if (json) return printJson(io, { file, seed: usedSeed, milliseconds, peakMemory, warnings, method, steps, subjects: told });
  const names = told.map(({ identifier, token, category }) => `${method === 'dreambooth' ? `"${token} ${category}" (${identifier} here)` : `"${identifier}${method === 'textual-inversion' ? '' : ` ${category}`}"`}`);
  printLines(io, [`${file}: ${method}, ${steps} steps; prompts say ${names.join(', ')}.`, '', `Seed ${usedSeed}; ${duration(milliseconds)}; at most ${(peakMemory / 2 ** 20).toFixed(0)} MiB.`]);
}
