/** Configs of autoencoders other than AutoencoderKL: AutoencoderTiny (TAESD), and AsymmetricAutoencoderKL, whose decoder is the larger. */
import { z } from 'zod';
import { channels, checkGroups, checkLevels, count, invalid, layers, parseConfig } from './parse';
import type { JsonObject } from './read-json';
import type { VaeConfig } from './types';
import type { WeightFiles } from './weights';

type Parsed = Omit<VaeConfig, keyof WeightFiles>;

const FACTOR = z.number().positive();
/** Of a level; none at all is possible. */
const blocks = z.array(z.int().min(0).max(1024)).min(1).max(16);

const TINY = {
  used: {
    in_channels: count.default(3),
    out_channels: count.default(3),
    latent_channels: count.default(4),
    encoder_block_out_channels: channels.default([64, 64, 64, 64]),
    decoder_block_out_channels: channels.default([64, 64, 64, 64]),
    num_encoder_blocks: blocks.default([1, 3, 3, 3]),
    num_decoder_blocks: blocks.default([3, 3, 3, 1]),
    scaling_factor: FACTOR.default(1),
  },
  fixed: { act_fn: ['relu'], upsample_fn: ['nearest'], upsampling_scaling_factor: [2], shift_factor: [null, 0] },
  // The first repeats the decoder's; magnitude and shift are for storing latents in bytes.
  ignored: ['block_out_channels', 'latent_magnitude', 'latent_shift', 'force_upcast'],
};

/** @param file whose `json` it is, for messages */
export function parseTiny(file: string, json: JsonObject): Parsed {
  const config = parseConfig(file, json, TINY);
  const levels = config.encoder_block_out_channels.length;
  checkLevels(file, config, ['decoder_block_out_channels', 'num_encoder_blocks', 'num_decoder_blocks'], 'encoder_block_out_channels');
  for (const key of ['encoder_block_out_channels', 'decoder_block_out_channels'] as const) {
    // diffusers' layers fit one another only so.
    if (config[key].some((value) => value !== config[key][0])) throw invalid(file, `"${key}" are not all the same`);
  }
  return {
    inChannels: config.in_channels,
    outChannels: config.out_channels,
    latentChannels: config.latent_channels,
    blockOutChannels: config.encoder_block_out_channels,
    decoderBlockOutChannels: config.decoder_block_out_channels,
    encoderBlocks: config.num_encoder_blocks,
    decoderBlocks: config.num_decoder_blocks,
    layersPerBlock: 1,
    normGroups: 1,
    midAttention: false,
    quantConv: false,
    postQuantConv: false,
    scalingFactor: config.scaling_factor,
    downscale: 2 ** (levels - 1),
  };
}

const ASYMMETRIC = {
  used: {
    in_channels: count.default(3),
    out_channels: count.default(3),
    latent_channels: count.default(4),
    down_block_types: z.array(z.enum(['DownEncoderBlock2D'])).default(['DownEncoderBlock2D']),
    up_block_types: z.array(z.enum(['UpDecoderBlock2D'])).default(['UpDecoderBlock2D']),
    down_block_out_channels: channels.default([64]),
    up_block_out_channels: channels.default([64]),
    layers_per_down_block: layers.default(1),
    layers_per_up_block: layers.default(1),
    norm_num_groups: count.default(32),
    scaling_factor: FACTOR.default(0.18215),
  },
  fixed: { act_fn: ['silu', 'swish'] },
  ignored: ['sample_size', 'force_upcast', 'block_out_channels'],
};

/** @param file whose `json` it is, for messages */
export function parseAsymmetric(file: string, json: JsonObject): Parsed {
  const config = parseConfig(file, json, ASYMMETRIC);
  const levels = config.down_block_out_channels.length;
  checkLevels(file, config, ['down_block_types', 'up_block_types', 'up_block_out_channels'], 'down_block_out_channels');
  checkGroups(file, [...config.down_block_out_channels, ...config.up_block_out_channels], config.norm_num_groups);
  return {
    inChannels: config.in_channels,
    outChannels: config.out_channels,
    latentChannels: config.latent_channels,
    blockOutChannels: config.down_block_out_channels,
    layersPerBlock: config.layers_per_down_block,
    decoderBlockOutChannels: config.up_block_out_channels,
    decoderLayersPerBlock: config.layers_per_up_block,
    normGroups: config.norm_num_groups,
    midAttention: true,
    quantConv: true,
    postQuantConv: true,
    scalingFactor: config.scaling_factor,
    downscale: 2 ** (levels - 1),
  };
}
