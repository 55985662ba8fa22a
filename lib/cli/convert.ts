import type { Command } from 'commander';
import { convertSingleFile } from '../models/single-file/convert';
import type { PredictionType } from '../models/types';
import { addOutputFlags, type OutputFlags } from './arguments';
import { type Io, printJson, printLines } from './io';
import { ConesError } from '../errors';
import { show } from '../util/show';

interface Flags extends OutputFlags {
  readonly prediction?: string;
  readonly ema?: boolean;
  readonly config?: string;
}

const PREDICTIONS: readonly string[] = ['epsilon', 'v_prediction'] satisfies readonly PredictionType[];

/** `cones convert`: a single file as a folder. */
export function addConvert(program: Command, io: Io): void {
  const command = program
    .command('convert')
    .description('Write a model in one file (.safetensors, .ckpt) as a folder in diffusers layout.')
    .argument('<file>', 'the model')
    .argument('<folder>', 'the folder, which must not be there yet')
    .option('--prediction <name>', "what the UNet predicts, 'epsilon' or 'v_prediction' (default: epsilon; v_prediction for Stable Diffusion 2.x)")
    .option('--ema', 'take the averaged weights')
    .option('--config <folder>', 'a folder whose configs and tokenizer are taken');
  addOutputFlags(command);
  command.action((file: string, folder: string, flags: Flags) => convert(file, folder, flags, io));
}

async function convert(file: string, folder: string, { prediction, ema, config, json }: Flags, io: Io): Promise<void> {
  if (prediction !== undefined && !PREDICTIONS.includes(prediction)) {
    throw new ConesError('CONES_OPTION_INVALID', `--prediction is ${show(prediction)}: give ${PREDICTIONS.join(' or ')}.`);
  }
  await convertSingleFile(file, folder, { prediction: prediction as PredictionType | undefined, ema, config });
  if (json) printJson(io, { folder });
  else printLines(io, [`${folder}: written.`]);
}
