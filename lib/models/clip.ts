import path from 'node:path';
import { z } from 'zod';
import type { NativeClipOptions } from '../../typings/native';
import { ConesError } from '../errors';
import { count, epsilon, invalid, layers } from './parse';
import { readJson } from './read-json';
import { brief } from '../util/show';
import { findWeights } from './weights';

/** What a CLIPModel folder says: both towers, the projection, and how pictures are prepared. */
export interface ClipConfig extends Omit<NativeClipOptions, 'threads' | 'memoryLimit'> {
  /** Mean and standard deviation of the pixels' red, green and blue in [0, 1]. */
  readonly mean: readonly [number, number, number];
  readonly std: readonly [number, number, number];
}

const tower = {
  intermediate_size: count,
  num_hidden_layers: layers,
  num_attention_heads: count,
  hidden_act: z.enum(['quick_gelu', 'gelu']).default('quick_gelu'),
  layer_norm_eps: epsilon.default(1e-5),
};

// transformers leaves out what equals its defaults.
const model = z.object({
  model_type: z.literal('clip'),
  projection_dim: count.default(512),
  text_config: z.object({
    ...tower,
    hidden_size: count.default(512),
    intermediate_size: count.default(2048),
    num_hidden_layers: layers.default(12),
    num_attention_heads: count.default(8),
    vocab_size: count.default(49408),
    max_position_embeddings: count.default(77),
    eos_token_id: z.int().min(0).default(49407),
  }),
  vision_config: z.object({
    ...tower,
    hidden_size: count.default(768),
    intermediate_size: count.default(3072),
    num_hidden_layers: layers.default(12),
    num_attention_heads: count.default(12),
    num_channels: z.literal(3).default(3),
    image_size: count.default(224),
    patch_size: count.default(32),
  }),
});

const rgb = z.tuple([z.number(), z.number(), z.number()]);
const preprocessor = z.object({
  image_mean: rgb.default([0.48145466, 0.4578275, 0.40821073]),
  image_std: rgb.default([0.26862954, 0.26130258, 0.27577711]).refine((std) => std.every((value) => value > 0), 'must be positive'),
});

/**
 * Reads a CLIPModel folder as transformers writes it.
 * @throws ConesError CONES_MODEL_NOT_FOUND, CONES_CONFIG_INVALID or CONES_IO
 */
export async function readClipConfig(folder: string): Promise<ClipConfig> {
  const file = path.join(folder, 'config.json');
  const { text_config: text, vision_config: vision, projection_dim } = parse(file, model, await readJson(file));
  const preprocessorFile = path.join(folder, 'preprocessor_config.json');
  const { image_mean, image_std } = parse(preprocessorFile, preprocessor, await optionalJson(preprocessorFile));
  return {
    text: { ...towerOf(text), vocabSize: text.vocab_size, maxPositions: text.max_position_embeddings },
    vision: { ...towerOf(vision), channels: 3, imageSize: vision.image_size, patchSize: vision.patch_size },
    projectionSize: projection_dim,
    eosTokenId: text.eos_token_id,
    ...(await findWeights(folder, 'model')),
    mean: image_mean,
    std: image_std,
  };
}

function towerOf(config: z.infer<typeof model>['text_config'] | z.infer<typeof model>['vision_config']) {
  return {
    hiddenSize: config.hidden_size,
    intermediateSize: config.intermediate_size,
    layers: config.num_hidden_layers,
    heads: config.num_attention_heads,
    activation: config.hidden_act,
    layerNormEps: config.layer_norm_eps,
  };
}

function parse<Schema extends z.ZodType>(file: string, schema: Schema, json: unknown): z.output<Schema> {
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  throw invalid(file, `"${brief(issue.path.map(String).join('.'))}": ${brief(issue.message)}`);
}

async function optionalJson(file: string): Promise<unknown> {
  try {
    return await readJson(file);
  } catch (error) {
    if (error instanceof ConesError && error.code === 'CONES_MODEL_NOT_FOUND') return {};
    throw error;
  }
}
