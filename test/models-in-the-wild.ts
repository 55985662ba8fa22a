// Configs of models that people name, as their repositories on the hub have them (docs/guide/models.md has a row for each). A row more:
// a name, and in what its configs differ from Stable Diffusion's of its generation. Where they were read: docs/log/2026-11-28-hub.md.
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

type Json = Readonly<Record<string, unknown>>;
type Folder = Readonly<Record<string, Json | undefined>>;

const times = <T>(count: number, value: T): T[] => new Array<T>(count).fill(value);

/** Stable Diffusion 1.x. */
const SD1: Folder = {
  'model_index.json': {
    _class_name: 'StableDiffusionPipeline',
    feature_extractor: ['transformers', 'CLIPImageProcessor'],
    safety_checker: ['stable_diffusion', 'StableDiffusionSafetyChecker'],
    scheduler: ['diffusers', 'PNDMScheduler'],
    text_encoder: ['transformers', 'CLIPTextModel'],
    tokenizer: ['transformers', 'CLIPTokenizer'],
    unet: ['diffusers', 'UNet2DConditionModel'],
    vae: ['diffusers', 'AutoencoderKL'],
  },
  'unet/config.json': {
    _class_name: 'UNet2DConditionModel', act_fn: 'silu', attention_head_dim: 8, block_out_channels: [320, 640, 1280, 1280], center_input_sample: false,
    cross_attention_dim: 768, down_block_types: [...times(3, 'CrossAttnDownBlock2D'), 'DownBlock2D'], downsample_padding: 1, flip_sin_to_cos: true, freq_shift: 0,
    in_channels: 4, layers_per_block: 2, mid_block_scale_factor: 1, norm_eps: 1e-5, norm_num_groups: 32, out_channels: 4, sample_size: 64,
    up_block_types: ['UpBlock2D', ...times(3, 'CrossAttnUpBlock2D')],
  },
  'text_encoder/config.json': {
    architectures: ['CLIPTextModel'], bos_token_id: 0, eos_token_id: 2, hidden_act: 'quick_gelu', hidden_size: 768, intermediate_size: 3072, layer_norm_eps: 1e-5,
    max_position_embeddings: 77, model_type: 'clip_text_model', num_attention_heads: 12, num_hidden_layers: 12, pad_token_id: 1, projection_dim: 768, vocab_size: 49408,
  },
  'vae/config.json': {
    _class_name: 'AutoencoderKL', act_fn: 'silu', block_out_channels: [128, 256, 512, 512], down_block_types: times(4, 'DownEncoderBlock2D'), in_channels: 3,
    latent_channels: 4, layers_per_block: 2, norm_num_groups: 32, out_channels: 3, sample_size: 512, up_block_types: times(4, 'UpDecoderBlock2D'),
  },
  'scheduler/scheduler_config.json': {
    _class_name: 'PNDMScheduler', beta_end: 0.012, beta_schedule: 'scaled_linear', beta_start: 0.00085, clip_sample: false, num_train_timesteps: 1000,
    set_alpha_to_one: false, skip_prk_steps: true, steps_offset: 1, trained_betas: null,
  },
};

/** Stable Diffusion 2.x of 512 pixels. */
const SD2 = changed(SD1, {
  'model_index.json': { safety_checker: [null, null] },
  'unet/config.json': { attention_head_dim: [5, 10, 20, 20], cross_attention_dim: 1024, dual_cross_attention: false, num_class_embeds: null, only_cross_attention: false, use_linear_projection: true },
  'text_encoder/config.json': { hidden_act: 'gelu', hidden_size: 1024, intermediate_size: 4096, num_attention_heads: 16, num_hidden_layers: 23, projection_dim: 512 },
});

/** By name on the hub. */
export const MODELS: Readonly<Record<string, Folder>> = {
  'CompVis/stable-diffusion-v1-4': SD1,
  'stable-diffusion-v1-5/stable-diffusion-v1-5': SD1,
  'stabilityai/stable-diffusion-2-base': SD2,
  'stabilityai/stable-diffusion-2-1-base': SD2,
  'stabilityai/stable-diffusion-2-1': changed(SD2, {
    'unet/config.json': { sample_size: 96, upcast_attention: true },
    'vae/config.json': { sample_size: 768 },
    'scheduler/scheduler_config.json': { prediction_type: 'v_prediction' },
  }),
  'stable-diffusion-v1-5/stable-diffusion-inpainting': changed(SD1, {
    'model_index.json': { _class_name: 'StableDiffusionInpaintPipeline' },
    'unet/config.json': { in_channels: 9 },
  }),
  'timbrooks/instruct-pix2pix': changed(SD1, {
    'model_index.json': { _class_name: 'StableDiffusionInstructPix2PixPipeline' },
    'unet/config.json': { in_channels: 8 },
  }),
  'segmind/tiny-sd': changed(SD1, {
    'unet/config.json': {
      block_out_channels: [320, 640, 1280], down_block_types: times(3, 'CrossAttnDownBlock2D'), layers_per_block: 1, mid_block_type: null,
      up_block_types: times(3, 'CrossAttnUpBlock2D'),
    },
  }),
  'stabilityai/stable-diffusion-xl-base-1.0': changed(SD1, {
    'model_index.json': { _class_name: 'StableDiffusionXLPipeline', text_encoder_2: ['transformers', 'CLIPTextModelWithProjection'], tokenizer_2: ['transformers', 'CLIPTokenizer'] },
  }),
  'SimianLuo/LCM_Dreamshaper_v7': changed(SD1, {
    'model_index.json': { _class_name: 'LatentConsistencyModelPipeline' },
    'unet/config.json': { time_cond_proj_dim: 256 },
  }),
};

/** A folder with keys of its configs changed. */
function changed(folder: Folder, changes: Folder): Folder {
  return { ...folder, ...Object.fromEntries(Object.entries(changes).map(([file, keys]) => [file, keys && { ...folder[file], ...keys }])) };
}

/** Of single letters: what a model loads does not depend on it. */
const TOKENIZER = path.join(__dirname, 'goldens/models/pipeline/tokenizer');
/** A safetensors file without tensors. */
const EMPTY = Buffer.concat([Buffer.from(BigUint64Array.of(2n).buffer), Buffer.from('{}')]);

/** Writes a model's folder; its weights are empty. */
export function writeModel(root: string, folder: Folder): void {
  const put = (name: string, content: string | Buffer) => {
    mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
    writeFileSync(path.join(root, name), content);
  };
  for (const [name, json] of Object.entries(folder)) if (json) put(name, JSON.stringify(json));
  for (const part of ['unet', 'vae']) put(`${part}/diffusion_pytorch_model.safetensors`, EMPTY);
  put('text_encoder/model.safetensors', EMPTY);
  cpSync(TOKENIZER, path.join(root, 'tokenizer'), { recursive: true });
}
