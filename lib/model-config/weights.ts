import { stat } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { ConesError } from '../errors';
import { invalid } from './parse';
import { brief } from '../show';
import { danglingLink, fileError, readJson } from './read-json';
import { weightFileSize } from './weight-file';

/** In the order of preference: full precision first. */
const VARIANTS = ['', '.fp16', '.bf16'] as const;

/** A shard's name, not a path: an index may not point outside its folder. */
const shardName = z.string().regex(/^[\w.-]+\.safetensors$/, 'must be the name of a .safetensors file in the same folder');
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
    const index = path.resolve(folder, `${stem}.safetensors.index${variant}.json`);
    // diffusers leaves an old single file beside the shards that it saves, and reads the shards; transformers reads the single file.
    for (const file of stem === 'model' ? [single, index] : [index, single]) {
      if (!(await isFile(file))) continue;
      const files = file === single ? [single] : await shards(index);
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
