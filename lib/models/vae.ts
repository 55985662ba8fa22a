import path from 'node:path';
import { z } from 'zod';
import { channels, checkGroups, checkLevels, count, invalid, layers, parseConfig, unsupported } from './parse';
import { type JsonObject, readJson } from './read-json';
import type { VaeConfig } from './types';
import { parseAsymmetric, parseTiny } from './other-autoencoders';
import { findWeights, type WeightFiles } from './weights';

const KEYS = {
  used: {
    in_channels: count.default(3),
    out_channels: count.default(3),
    latent_channels: count.default(4),
    down_block_types: z.array(z.enum(['DownEncoderBlock2D'])).default(['DownEncoderBlock2D']),
    up_block_types: z.array(z.enum(['UpDecoderBlock2D'])).default(['UpDecoderBlock2D']),
    block_out_channels: channels.default([64]),
    layers_per_block: layers.default(1),
    norm_num_groups: count.default(32),
    scaling_factor: z.number().positive().default(0.18215),
    use_quant_conv: z.boolean().default(true),
    use_post_quant_conv: z.boolean().default(true),
    mid_block_add_attention: z.boolean().default(true),
  },
  fixed: {
    act_fn: ['silu', 'swish'],
    shift_factor: [null, 0],
    latents_mean: [null],
    latents_std: [null],
  },
  ignored: ['sample_size', 'force_upcast'],
};

/** Reads `vae/` of a model folder. */
export async function readVaeConfig(folder: string): Promise<VaeConfig> {
  const file = path.join(folder, 'config.json');
  return { ...parseVaeConfig(file, await readJson(file)), ...(await findWeights(folder, 'diffusion_pytorch_model')) };
}

/**
 * Reads the folder of an autoencoder for drafts.
 * @throws ConesError CONES_CONFIG_UNSUPPORTED unless it takes the same latents as `vae`
 */
export async function readDraftsConfig(folder: string, vae: VaeConfig): Promise<VaeConfig> {
  const drafts = await readVaeConfig(folder);
  const file = path.join(folder, 'config.json');
  if (drafts.latentChannels !== vae.latentChannels) throw unsupported(file, 'latent_channels', drafts.latentChannels, `${vae.latentChannels}, the model's own`);
  if (drafts.downscale !== vae.downscale) throw invalid(file, `its latents are ${drafts.downscale} times smaller than pictures, the model's ${vae.downscale}: give an autoencoder for the same latents, such as taesd`);
  if (drafts.outChannels !== 3) throw unsupported(file, 'out_channels', drafts.outChannels, '3');
  return drafts;
}

/** @param file whose `json` it is, for messages */
export function parseVaeConfig(file: string, json: JsonObject): Omit<VaeConfig, keyof WeightFiles> {
  if (json['_class_name'] === 'AutoencoderTiny') return parseTiny(file, json);
  if (json['_class_name'] === 'AsymmetricAutoencoderKL') return parseAsymmetric(file, json);
  const config = parseConfig(file, json, KEYS);
  const blockOutChannels = config.block_out_channels;
  checkLevels(file, config, ['down_block_types', 'up_block_types'], 'block_out_channels');
  checkGroups(file, blockOutChannels, config.norm_num_groups);
  return {
    inChannels: config.in_channels,
    outChannels: config.out_channels,
    latentChannels: config.latent_channels,
    blockOutChannels,
    layersPerBlock: config.layers_per_block,
    normGroups: config.norm_num_groups,
    midAttention: config.mid_block_add_attention,
    quantConv: config.use_quant_conv,
    postQuantConv: config.use_post_quant_conv,
    scalingFactor: config.scaling_factor,
    downscale: 2 ** (blockOutChannels.length - 1),
  };
}
