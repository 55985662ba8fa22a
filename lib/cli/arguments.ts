import path from 'node:path';
import type { Command } from 'commander';
import { Engine, type EngineOptions } from '../engine';
import { modelFolder as folderOf } from '../models/hub';
import { DownloadBar } from './download-bar';
import { type Io, printNote } from './io';
import { addProgressFlag } from './progress';

/**
 * Flags are only converted here; whether a value makes sense is for the engine to say. What is no number becomes NaN,
 * which the engine refuses by the option's name.
 */
export function number(text: string): number {
  return text.trim() === '' ? NaN : Number(text);
}

/** Seeds have 64 bits. */
export function seed(text: string): number | bigint {
  return /^\d+$/.test(text) ? BigInt(text) : number(text);
}

/** "0.01,0.02" */
export function numbers(text: string): number[] {
  return text.split(',').map(number);
}

/** A flag that may be given several times. */
export function repeatable(value: string, previous: readonly string[] | undefined): string[] {
  return [...(previous ?? []), value];
}

/** Has all options of a call, so that none is forgotten here when one is added there. */
export type AllOptions<T> = { readonly [K in keyof Required<Omit<T, 'onProgress' | 'onWarning' | 'signal' | 'checkpoint' | 'priority'>>]: unknown };

/** The model that ships with the package. Two levels up from lib/cli as well as from dist/cli. */
const DEFAULT_MODEL = path.join(__dirname, '..', '..', 'models', 'mini');

/** Flags of every command that loads a model. */
export interface EngineFlags {
  readonly model?: string;
  readonly device?: string;
  readonly precision?: string;
  readonly threads?: number;
  /** GiB */
  readonly memoryLimit?: number;
  readonly prediction?: string;
  readonly ema?: boolean;
  readonly config?: string;
  /** Of `generate` alone. */
  readonly drafts?: string;
}

export function addEngineFlags(command: Command): Command {
  return command
    .optionsGroup('Engine:')
    .option('--model <path>', 'model: a folder in diffusers layout, a single .safetensors or .ckpt file, or hf:organisation/model of the Hugging Face hub (default: the small model that comes with cones)')
    .option('--prediction <name>', "of a single file: 'epsilon' or 'v_prediction' (default: epsilon; v_prediction for Stable Diffusion 2.x)")
    .option('--ema', 'of a single file: take the averaged weights')
    .option('--config <folder>', 'of a single file: a folder whose configs and tokenizer are taken')
    .option('--device <name>', "'auto', 'cpu', 'cuda' or 'cuda:N', as in cones devices (default: auto)")
    .option('--precision <name>', "'auto', 'fp32' on the CPU, 'fp16' or 'bf16' on a GPU (default: auto)")
    .option('--threads <n>', 'threads to compute with (default: all)', number)
    .option('--memory-limit <GiB>', "refuse to start what needs more of the device's memory (default: 90 % of it; of what is free, on a GPU)", number);
}

/** Where the model is; one that --model names on the hub is downloaded first unless it is there. */
export async function modelFolder({ model = DEFAULT_MODEL }: EngineFlags, io: Io): Promise<string> {
  using bar = new DownloadBar(io);
  return await folderOf(model, { onDownload: (progress) => bar.update(progress) });
}

export async function loadEngine(flags: EngineFlags, io: Io): Promise<Engine> {
  const { device, precision, threads, memoryLimit, prediction, ema, config, drafts } = flags;
  const engine = await Engine.load(await modelFolder(flags, io), {
    device: device as EngineOptions['device'],
    precision: precision as EngineOptions['precision'],
    threads,
    memoryLimit: memoryLimit === undefined ? undefined : Math.floor(memoryLimit * 2 ** 30),
    prediction: prediction as EngineOptions['prediction'],
    ema,
    config,
    drafts,
  });
  for (const { code, message } of engine.warnings) printNote(io, 'warning', code, message);
  return engine;
}

export interface OutputFlags {
  readonly json?: boolean;
  readonly verbose?: boolean;
  readonly progress?: Io['progress'];
}

/** @param long whether the command takes long, and tells how far it is */
export function addOutputFlags(command: Command, { long = false } = {}): Command {
  command.optionsGroup('Output:');
  if (long) addProgressFlag(command);
  return command
    .option('--json', 'print the result as JSON')
    .option('--verbose', 'print the stack of an error');
}
