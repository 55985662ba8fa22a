import { stat } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { ConesError } from '../errors';
import type { NativeFiles, NativeTensor } from '../../typings/native';
import { readCheckpoint } from './checkpoint';
import { invalid } from './parse';
import { brief, show } from '../util/show';
import { danglingLink, fileError, readJson } from './read-json';
import { damaged } from './checkpoint/damaged';
import { assertNotMistaken, weightFileSize } from './weight-file';

/** Where the weights of one component are, as the addon takes it. */
export type WeightFiles = NativeFiles;

/** In the order of preference: full precision first. */
const VARIANTS = ['', '.fp16', '.bf16'] as const;

/** Any name that a file may have, perhaps in a folder beside the index: an index may not point outside its own. */
const weightMap = (extension: string) => {
  const shardName = z
    .string()
    .refine((name) => name.endsWith(extension) && name.split('/').every(isName), `must be the name of a ${extension} file in the same folder`);
  return z.record(z.string(), shardName).refine((map) => Object.keys(map).length > 0, 'must not be empty');
};

/**
 * The files of one component: a single file, or the shards that its index names. PyTorch's own `.bin` files are read where there is no
 * safetensors file in any variant.
 * @param stem `model` (transformers) or `diffusion_pytorch_model` (diffusers).
 * @returns Absolute paths; for `.bin` files with what is in them.
 * @throws ConesError CONES_MODEL_NOT_FOUND when there is none or a shard is missing; CONES_CHECKPOINT_INVALID.
 */
export async function findWeights(folder: string, stem: string): Promise<WeightFiles> {
  const safetensors = await findFiles(folder, stem, '.safetensors');
  if (safetensors !== undefined) {
    // What is often found in the place of weights is told here, before anything is loaded.
    await Promise.all(safetensors.map(weightFileSize));
    return { files: safetensors };
  }
  const files = await findFiles(folder, stem === 'model' ? 'pytorch_model' : stem, '.bin');
  if (files !== undefined) return { files, tensors: (await Promise.all(files.map(tensorsOf))).flat() };
  throw new ConesError(
    'CONES_MODEL_NOT_FOUND',
    `${brief(folder)} has no ${stem}.safetensors (nor .fp16, .bf16, .bin or sharded weights). Download the model again with its weights.`,
  );
}

async function tensorsOf(name: string, file: number): Promise<NativeTensor[]> {
  await assertNotMistaken(name);
  const { tensors, scattered } = await readCheckpoint(name);
  const [odd] = scattered;
  if (odd !== undefined) throw damaged(name, `the elements of ${show(odd)} do not lie together`);
  return Array.from(tensors, ([tensor, { dtype, shape, offset }]) => ({ name: tensor, dtype, shape: [...shape], file, offset }));
}

async function findFiles(folder: string, stem: string, extension: '.safetensors' | '.bin'): Promise<string[] | undefined> {
  for (const variant of VARIANTS) {
    const single = path.resolve(folder, `${stem}${variant}${extension}`);
    // diffusers up to 0.29 put a variant before "index".
    const names = variant === '' ? [`${stem}${extension}.index.json`] : [`${stem}${extension}.index${variant}.json`, `${stem}${extension}${variant}.index.json`];
    const indices = names.map((name) => path.resolve(folder, name));
    // diffusers leaves an old single file beside the shards that it saves, and reads the shards; transformers reads the single file.
    for (const file of stem === 'diffusion_pytorch_model' ? [...indices, single] : [single, ...indices]) {
      if (await isFile(file)) return file === single ? [single] : shards(file, extension);
    }
  }
  return undefined;
}

async function shards(index: string, extension: string): Promise<string[]> {
  // One line per tensor: far more tensors than any model has fit into 16 MiB.
  const json = await readJson(index, 2 ** 24);
  const map = weightMap(extension).safeParse(json['weight_map']);
  if (!map.success) throw invalid(index, `"weight_map" ${brief(map.error.issues[0]!.message)}`);
  const files = [...new Set(Object.values(map.data))].sort().map((name) => path.join(path.dirname(index), name));
  for (const file of files) {
    if (!(await isFile(file))) throw fileError(file, { code: 'ENOENT' });
  }
  return files;
}

function isName(name: string): boolean {
  return !['', '.', '..'].includes(name) && !name.includes('\\') && !name.includes('\0');
}

/** @throws ConesError CONES_MODEL_NOT_FOUND for a link that leads nowhere; CONES_IO */
async function isFile(file: string): Promise<boolean> {
  try {
    return (await stat(file)).isFile();
  } catch (cause) {
    const error = fileError(file, cause);
    if (error.code === 'CONES_MODEL_NOT_FOUND' && danglingLink(file) === undefined) return false;
    throw error;
  }
}
