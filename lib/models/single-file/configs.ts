/**
 * diffusers' configs of a CompVis checkpoint. Sizes are told from shapes; what no shape tells is as Stable Diffusion 1.x or 2.x have
 * it: 2.x is told by its text encoder.
 */
import type { PredictionType } from '../types';
import type { JsonObject } from '../read-json';
import type { FileTensors } from './tensors';
import { usedLayers } from './text-names';
import type { UNetNames } from './unet-names';
import { countModules } from './vae-names';

/** Of a checkpoint without the last step that tells: what diffusers takes Stable Diffusion 2.x for. */
const BASE_STEPS = 875_000;

/** Every group norm has as many groups. */
const GROUPS = 32;

export function predictionOf(isSecond: boolean, globalStep: number | undefined): PredictionType {
  return isSecond && globalStep !== BASE_STEPS ? 'v_prediction' : 'epsilon';
}

/** @param tensors without the prefix of the UNet */
export function unetConfig(tensors: FileTensors, { levels, upDepths, midBlock }: UNetNames, isSecond: boolean, prediction: PredictionType): JsonObject {
  const shape = (name: string) => tensors.get(name)?.shape ?? [];
  const channels = levels.map((level) => level.channels);
  const projection = [...tensors.keys()].find((name) => name.endsWith('.1.proj_in.weight'));
  const cross = [...tensors.keys()].find((name) => name.endsWith('.attn2.to_k.weight'));
  return {
    _class_name: 'UNet2DConditionModel',
    sample_size: prediction === 'v_prediction' && isSecond ? 96 : 64,
    in_channels: shape('input_blocks.0.0.weight')[1],
    out_channels: shape('out.2.weight')[0],
    block_out_channels: channels,
    layers_per_block: sameOrList(levels.map((level) => level.layers)),
    down_block_types: levels.map(({ depth }) => (depth > 0 ? 'CrossAttnDownBlock2D' : 'DownBlock2D')),
    up_block_types: upDepths.map((depth) => (depth > 0 ? 'CrossAttnUpBlock2D' : 'UpBlock2D')),
    mid_block_type: midBlock ? 'UNetMidBlock2DCrossAttn' : null,
    transformer_layers_per_block: sameOrList(levels.map(({ depth }, i) => Math.max(1, depth, upDepths[levels.length - 1 - i] ?? 0))),
    cross_attention_dim: cross === undefined ? undefined : shape(cross)[1],
    // The number of heads: eight, or as many as have 64 channels.
    attention_head_dim: isSecond ? channels.map((count) => Math.max(1, Math.floor(count / 64))) : 8,
    use_linear_projection: projection !== undefined && shape(projection).length === 2,
    norm_num_groups: GROUPS,
  };
}

/** @param tensors without the prefix of the autoencoder */
export function vaeConfig(tensors: FileTensors): JsonObject {
  const shape = (name: string) => tensors.get(name)?.shape ?? [];
  const levels = countModules(tensors, /^encoder\.down\.(\d{1,2})\./);
  return {
    _class_name: 'AutoencoderKL',
    in_channels: shape('encoder.conv_in.weight')[1],
    out_channels: shape('decoder.conv_out.weight')[0],
    latent_channels: shape('decoder.conv_in.weight')[1],
    block_out_channels: Array.from({ length: levels }, (_, i) => shape(`encoder.down.${i}.block.0.conv1.weight`)[0]),
    layers_per_block: countModules(tensors, /^encoder\.down\.0\.block\.(\d{1,3})\./),
    down_block_types: Array.from({ length: levels }, () => 'DownEncoderBlock2D'),
    up_block_types: Array.from({ length: levels }, () => 'UpDecoderBlock2D'),
    norm_num_groups: GROUPS,
    mid_block_add_attention: tensors.has('encoder.mid.attn_1.q.weight'),
    use_quant_conv: tensors.has('quant_conv.weight'),
    use_post_quant_conv: tensors.has('post_quant_conv.weight'),
    scaling_factor: 0.18215,
  };
}

/** @param tensors without the prefix of the text encoder */
export function clipConfig(tensors: FileTensors): JsonObject {
  const prefix = tensors.has('text_model.final_layer_norm.weight') ? 'text_model.' : '';
  const shape = (name: string) => tensors.get(prefix + name)?.shape ?? [];
  return textConfig({
    embeddings: shape('embeddings.token_embedding.weight'),
    positions: shape('embeddings.position_embedding.weight')[0],
    layers: countModules(tensors, prefix === '' ? /^encoder\.layers\.(\d{1,3})\./ : /^text_model\.encoder\.layers\.(\d{1,3})\./),
    intermediate: shape('encoder.layers.0.mlp.fc1.weight')[0],
    activation: 'quick_gelu',
  });
}

/** @param tensors without the prefix of the text encoder */
export function openClipConfig(tensors: FileTensors): JsonObject {
  const shape = (name: string) => tensors.get(name)?.shape ?? [];
  return textConfig({
    embeddings: shape('token_embedding.weight'),
    positions: shape('positional_embedding')[0],
    layers: usedLayers(countModules(tensors, /^transformer\.resblocks\.(\d{1,3})\./)),
    intermediate: shape('transformer.resblocks.0.mlp.c_fc.weight')[0],
    activation: 'gelu',
  });
}

interface TextSizes {
  /** [vocabulary, width] */
  readonly embeddings: readonly number[];
  readonly positions: number | undefined;
  readonly layers: number;
  readonly intermediate: number | undefined;
  readonly activation: string;
}

function textConfig({ embeddings: [vocabulary, width], positions, layers, intermediate, activation }: TextSizes): JsonObject {
  return {
    architectures: ['CLIPTextModel'],
    model_type: 'clip_text_model',
    vocab_size: vocabulary,
    hidden_size: width,
    intermediate_size: intermediate,
    num_hidden_layers: layers,
    // CLIP's towers have heads of 64 channels.
    num_attention_heads: width === undefined ? undefined : Math.max(1, Math.floor(width / 64)),
    max_position_embeddings: positions,
    hidden_act: activation,
    layer_norm_eps: 1e-5,
    bos_token_id: 49406,
    eos_token_id: 49407,
  };
}

export function schedulerConfig(prediction: PredictionType): JsonObject {
  return {
    _class_name: prediction === 'epsilon' ? 'PNDMScheduler' : 'DDIMScheduler',
    num_train_timesteps: 1000,
    beta_start: 0.00085,
    beta_end: 0.012,
    beta_schedule: 'scaled_linear',
    trained_betas: null,
    prediction_type: prediction,
    set_alpha_to_one: false,
    steps_offset: 1,
    clip_sample: false,
    ...(prediction === 'epsilon' ? { skip_prk_steps: true } : {}),
  };
}

function sameOrList(values: readonly number[]): number | readonly number[] {
  return values.every((value) => value === values[0]) ? values[0]! : values;
}
