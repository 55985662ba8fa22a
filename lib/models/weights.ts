import { stat } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { ConesError } from '../errors';
import { invalid } from './parse';
import { brief } from '../util/show';
import { danglingLink, fileError, readJson } from './read-json';
import { weightFileSize } from './weight-file';

/** In the order of preference: full precision first. */
const VARIANTS = ['', '.fp16', '.bf16'] as const;

/** Any name that a file may have, perhaps in a folder beside the index: an index may not point outside its own. */
const shardName = z
  .string()
  .refine((name) => name.endsWith('.safetensors') && name.split('/').every(isName), 'must be the name of a .safetensors file in the same folder');
const weightMap = z.record(z.string(), shardName).refine((map) => Object.keys(map).length > 0, 'must not be empty');

/**
 * The safetensors files of one component: a single file, or the shards that its index names.
 * @param stem `model` (transformers) or `diffusion_pytorch_model` (diffusers).
 * @returns Absolute paths.
 * @throws ConesError CONES_MODEL_NOT_FOUND when there is none or a shard is missing.
 */
export async function findWeights(folder: string, stem: string): Promise<string[]> {
  for (const variant of VARIANTS) {
    const single = path.resolve(folder, `${stem}${variant}.safetensors`);
    // diffusers up to 0.29 put a variant before "index".
    const names = variant === '' ? [`${stem}.safetensors.index.json`] : [`${stem}.safetensors.index${variant}.json`, `${stem}.safetensors${variant}.index.json`];
    const indices = names.map((name) => path.resolve(folder, name));
    // diffusers leaves an old single file beside the shards that it saves, and reads the shards; transformers reads the single file.
    for (const file of stem === 'model' ? [single, ...indices] : [...indices, single]) {
      if (!(await isFile(file))) continue;
      const files = file === single ? [single] : await shards(file);
      // What is often found in the place of weights is told here, before anything is loaded.
      await Promise.all(files.map(weightFileSize));
      return files;
    }
  }
  throw new ConesError(
    'CONES_MODEL_NOT_FOUND',
    `${brief(folder)} has no ${stem}.safetensors (nor .fp16, .bf16 or sharded weights). ` +
      'Only safetensors are read: save a .bin model with save_pretrained(..., safe_serialization=True).',
  );
}

async function shards(index: string): Promise<string[]> {
  // One line per tensor: far more tensors than any model has fit into 16 MiB.
  const json = await readJson(index, 2 ** 24);
  const map = weightMap.safeParse(json['weight_map']);
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
