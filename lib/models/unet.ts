import path from 'node:path';
import { z } from 'zod';
import { channels, count, epsilon, invalid, layers, parseConfig, unsupported } from './parse';
import { type JsonObject, readJson } from './read-json';
import type { UNetConfig } from './types';
import { otherFamily, SDXL } from './family';
import { findWeights, type WeightFiles } from './weights';

const perLevel = z.union([count, z.array(count)]);
const layersPerLevel = z.union([layers, z.array(layers)]);

const KEYS = {
  used: {
    sample_size: z.union([count, z.tuple([count, count])]).nullish(),
    in_channels: count.default(4),
    out_channels: count.default(4),
    center_input_sample: z.boolean().default(false),
    flip_sin_to_cos: z.boolean().default(true),
    freq_shift: z.number().min(-1).max(1).default(0),
    down_block_types: z
      .array(z.enum(['CrossAttnDownBlock2D', 'DownBlock2D']))
      .default(['CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'DownBlock2D']),
    up_block_types: z
      .array(z.enum(['CrossAttnUpBlock2D', 'UpBlock2D']))
      .default(['UpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D']),
    block_out_channels: channels.default([320, 640, 1280, 1280]),
    layers_per_block: layersPerLevel.default(2),
    norm_num_groups: count.default(32),
    norm_eps: epsilon.default(1e-5),
    cross_attention_dim: perLevel.default(1280),
    transformer_layers_per_block: layersPerLevel.default(1),
    // diffusers named the number of heads "attention_head_dim" (huggingface/diffusers#2011).
    attention_head_dim: perLevel.default(8),
    // null: distilled models (tiny-sd, BK-SDM) have none.
    mid_block_type: z.literal('UNetMidBlock2DCrossAttn').nullable().default('UNetMidBlock2DCrossAttn'),
    only_cross_attention: z.union([z.boolean(), z.array(z.boolean())]).default(false),
    time_embedding_dim: count.nullish(),
    // Latent consistency models: the size of an embedding of the guidance scale, of sines and cosines.
    time_cond_proj_dim: z.int().min(4).max(2 ** 20).nullish(),
  },
  fixed: {
    // diffusers refuses any other: it means attention_head_dim (huggingface/diffusers#2011).
    num_attention_heads: [null],
    downsample_padding: [1],
    mid_block_scale_factor: [1],
    act_fn: ['silu', 'swish'],
    reverse_transformer_layers_per_block: [null],
    encoder_hid_dim: [null],
    encoder_hid_dim_type: [null],
    dual_cross_attention: [false],
    class_embed_type: [null],
    addition_embed_type: [null],
    addition_time_embed_dim: [null],
    num_class_embeds: [null],
    resnet_time_scale_shift: ['default'],
    resnet_skip_time_act: [false],
    resnet_out_scale_factor: [1],
    time_embedding_type: ['positional'],
    time_embedding_act_fn: [null],
    timestep_post_act: [null],
    conv_in_kernel: [3],
    conv_out_kernel: [3],
    projection_class_embeddings_input_dim: [null],
    attention_type: ['default'],
    class_embeddings_concat: [false, null],
    mid_block_only_cross_attention: [null, false],
    cross_attention_norm: [null],
  },
  // Attention is fp32 already; dropout is for training; the shape of the weights tells the kind of projection;
  // the fourth belongs to addition_embed_type; the others are what diffusers' EMAModel writes about its averaging.
  ignored: [
    ...['upcast_attention', 'dropout', 'use_linear_projection', 'addition_embed_type_num_heads'],
    ...['decay', 'min_decay', 'optimization_step', 'update_after_step', 'use_ema_warmup', 'inv_gamma', 'power'],
  ],
};

/** Reads `unet/` of a model folder. */
export async function readUNetConfig(folder: string): Promise<UNetConfig> {
  const file = path.join(folder, 'config.json');
  return { ...parseUNetConfig(file, await readJson(file)), ...(await findWeights(folder, 'diffusion_pytorch_model')) };
}

/** @param file whose `json` it is, for messages */
export function parseUNetConfig(file: string, json: JsonObject): Omit<UNetConfig, keyof WeightFiles> {
  // A UNet may come without the index that tells.
  if (json['addition_embed_type'] === 'text_time') throw otherFamily(file, json, 'addition_embed_type', SDXL);
  const config = parseConfig(file, json, KEYS);
  const blockOutChannels = config.block_out_channels;
  const levels = blockOutChannels.length;

  const onePerLevel = <T>(key: string, value: T[]): T[] => {
    if (value.length !== levels) {
      throw invalid(file, `"${key}" has ${value.length} entries, but "block_out_channels" has ${levels}`);
    }
    return value;
  };
  const expand = (key: string, value: number | number[]): number[] =>
    typeof value === 'number' ? new Array<number>(levels).fill(value) : onePerLevel(key, value);

  const downTypes = onePerLevel('down_block_types', config.down_block_types);
  const upTypes = onePerLevel('up_block_types', config.up_block_types);
  const downAttention = downTypes.map((type) => type === 'CrossAttnDownBlock2D');
  const upAttention = upTypes.map((type) => type === 'CrossAttnUpBlock2D');

  if ([config.only_cross_attention].flat().includes(true)) {
    throw unsupported(file, 'only_cross_attention', config.only_cross_attention, 'false');
  }
  const crossAttentionDims = new Set([config.cross_attention_dim].flat());
  if (crossAttentionDims.size !== 1) {
    throw unsupported(file, 'cross_attention_dim', config.cross_attention_dim, 'one number for all levels');
  }
  const timeEmbeddingDim = blockOutChannels[0]! * 4;
  if (config.time_embedding_dim != null && config.time_embedding_dim !== timeEmbeddingDim) {
    throw unsupported(file, 'time_embedding_dim', config.time_embedding_dim, `null or ${timeEmbeddingDim}`);
  }
  if (blockOutChannels[0]! % 2 !== 0) {
    throw invalid(file, `"block_out_channels" starts with ${blockOutChannels[0]}, which sine and cosine cannot share`);
  }

  if (blockOutChannels[0]! / 2 === config.freq_shift) {
    throw invalid(file, `"freq_shift" is half of the first "block_out_channels", ${blockOutChannels[0]}: the time embedding divides by their difference`);
  }

  const midBlock = config.mid_block_type !== null;
  const heads = expand('attention_head_dim', config.attention_head_dim);
  const groups = config.norm_num_groups;
  blockOutChannels.forEach((levelChannels, level) => {
    if (levelChannels % groups !== 0) {
      throw invalid(file, `${levelChannels} channels of level ${level} are not a multiple of "norm_num_groups" ${groups}`);
    }
    const attends = downAttention[level]! || upAttention[levels - 1 - level]! || (midBlock && level === levels - 1);
    if (attends && levelChannels % heads[level]! !== 0) {
      throw invalid(
        file,
        `${levelChannels} channels of level ${level} are not a multiple of its ${heads[level]} attention heads ("attention_head_dim")`,
      );
    }
  });

  return {
    sampleSize: trainedSize(config.sample_size, json['_diffusers_version']),
    inChannels: config.in_channels,
    outChannels: config.out_channels,
    blockOutChannels,
    downAttention,
    upAttention,
    midBlock,
    layersPerBlock: expand('layers_per_block', config.layers_per_block),
    heads,
    transformerLayers: expand('transformer_layers_per_block', config.transformer_layers_per_block),
    crossAttentionDim: [...crossAttentionDims][0]!,
    normGroups: groups,
    normEps: config.norm_eps,
    flipSinToCos: config.flip_sin_to_cos,
    freqShift: config.freq_shift,
    centerInput: config.center_input_sample,
    timeCondDim: config.time_cond_proj_dim ?? 0,
  };
}

/**
 * Stable Diffusion 1.x was first published with a size of 32, half of what it was trained on; such folders are known, as
 * to StableDiffusionPipeline, by a version of diffusers before 0.9.
 */
function trainedSize(size: number | [number, number] | null | undefined, version: unknown): [number, number] | null {
  if (size == null) return null;
  if (typeof size !== 'number') return size;
  const side = typeof version === 'string' && /^0\.[0-8]\./.test(version) ? Math.max(size, 64) : size;
  return [side, side];
}
