/** Reading model folders: Stable Diffusion's own configs, and everything that can be wrong with one. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { loadModelConfig } from '../../lib/models';
import { SAMPLER_NAMES, type SamplerName, samplerSchedule, usableSampler } from '../../lib/diffusion/schedule';

type Json = Record<string, unknown>;
type Files = Record<string, Json | string>;

const crossAttn = (n: number): string[] => new Array<string>(n).fill('CrossAttnDownBlock2D');
const crossAttnUp = (n: number): string[] => new Array<string>(n).fill('CrossAttnUpBlock2D');

/** The configs of Stable Diffusion 1.4, with empty weight files. */
const SD14: Files = {
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
    _class_name: 'UNet2DConditionModel',
    act_fn: 'silu',
    attention_head_dim: 8,
    block_out_channels: [320, 640, 1280, 1280],
    center_input_sample: false,
    class_embed_type: null,
    cross_attention_dim: 768,
    down_block_types: [...crossAttn(3), 'DownBlock2D'],
    downsample_padding: 1,
    dual_cross_attention: false,
    flip_sin_to_cos: true,
    freq_shift: 0,
    in_channels: 4,
    layers_per_block: 2,
    mid_block_scale_factor: 1,
    mid_block_type: 'UNetMidBlock2DCrossAttn',
    norm_eps: 1e-5,
    norm_num_groups: 32,
    num_class_embeds: null,
    only_cross_attention: false,
    out_channels: 4,
    resnet_time_scale_shift: 'default',
    sample_size: 64,
    up_block_types: ['UpBlock2D', ...crossAttnUp(3)],
    upcast_attention: false,
    use_linear_projection: false,
  },
  'unet/diffusion_pytorch_model.safetensors': '',
  'text_encoder/config.json': {
    _name_or_path: 'openai/clip-vit-large-patch14',
    architectures: ['CLIPTextModel'],
    attention_dropout: 0,
    bos_token_id: 0,
    dropout: 0,
    eos_token_id: 2,
    hidden_act: 'quick_gelu',
    hidden_size: 768,
    initializer_factor: 1,
    initializer_range: 0.02,
    intermediate_size: 3072,
    layer_norm_eps: 1e-5,
    max_position_embeddings: 77,
    model_type: 'clip_text_model',
    num_attention_heads: 12,
    num_hidden_layers: 12,
    pad_token_id: 1,
    torch_dtype: 'float32',
    transformers_version: '4.21.0.dev0',
    vocab_size: 49408,
  },
  'text_encoder/model.safetensors': '',
  'vae/config.json': {
    _class_name: 'AutoencoderKL',
    act_fn: 'silu',
    block_out_channels: [128, 256, 512, 512],
    down_block_types: new Array(4).fill('DownEncoderBlock2D'),
    in_channels: 3,
    latent_channels: 4,
    layers_per_block: 2,
    out_channels: 3,
    sample_size: 512,
    scaling_factor: 0.18215,
    up_block_types: new Array(4).fill('UpDecoderBlock2D'),
  },
  'vae/diffusion_pytorch_model.safetensors': '',
  'scheduler/scheduler_config.json': {
    _class_name: 'PNDMScheduler',
    beta_end: 0.012,
    beta_schedule: 'scaled_linear',
    beta_start: 0.00085,
    num_train_timesteps: 1000,
    set_alpha_to_one: false,
    skip_prk_steps: true,
    steps_offset: 1,
    trained_betas: null,
    clip_sample: false,
  },
};

let root: string;
beforeEach(() => (root = mkdtempSync(path.join(tmpdir(), 'cones-model-'))));
afterEach(() => rmSync(root, { recursive: true }));

/** Writes a model folder; `null` leaves a file out, an object is merged into SD 1.4's. */
function writeModel(changes: Record<string, Json | string | null> = {}): string {
  for (const [name, content] of Object.entries({ ...SD14, ...changes })) {
    if (content === null) continue;
    const file = path.join(root, name);
    mkdirSync(path.dirname(file), { recursive: true });
    const base = SD14[name];
    const text =
      typeof content === 'string' ? content : JSON.stringify(typeof base === 'object' ? { ...base, ...content } : content);
    writeFileSync(file, text);
  }
  return root;
}

/** `CODE message` of what loading throws. */
async function failure(changes: Record<string, Json | string | null>): Promise<string> {
  try {
    await loadModelConfig(writeModel(changes));
    return 'loaded';
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    return `${code} ${message}`;
  }
}

test('Stable Diffusion 1.4', async () => {
  const model = await loadModelConfig(writeModel());
  expect(model.unet).toEqual({
    sampleSize: [64, 64],
    inChannels: 4,
    outChannels: 4,
    blockOutChannels: [320, 640, 1280, 1280],
    downAttention: [true, true, true, false],
    upAttention: [false, true, true, true],
    midBlock: true,
    layersPerBlock: [2, 2, 2, 2],
    heads: [8, 8, 8, 8], // "attention_head_dim": 8 is the number of heads
    transformerLayers: [1, 1, 1, 1],
    crossAttentionDim: 768,
    normGroups: 32,
    normEps: 1e-5,
    flipSinToCos: true,
    freqShift: 0,
    centerInput: false,
    timeCondDim: 0,
    files: [path.join(root, 'unet/diffusion_pytorch_model.safetensors')],
  });
  expect(model.text).toEqual({
    vocabSize: 49408,
    hiddenSize: 768,
    intermediateSize: 3072,
    layers: 12,
    heads: 12,
    maxPositions: 77,
    activation: 'quick_gelu',
    layerNormEps: 1e-5,
    files: [path.join(root, 'text_encoder/model.safetensors')],
  });
  expect(model.vae).toEqual({
    inChannels: 3,
    outChannels: 3,
    latentChannels: 4,
    blockOutChannels: [128, 256, 512, 512],
    layersPerBlock: 2,
    normGroups: 32,
    midAttention: true,
    quantConv: true,
    postQuantConv: true,
    scalingFactor: 0.18215,
    downscale: 8,
    files: [path.join(root, 'vae/diffusion_pytorch_model.safetensors')],
  });
  expect(model.scheduler).toMatchObject({ stepsOffset: 1, setAlphaToOne: false, timestepSpacing: null, trainedBetas: null });
  // The paper's setting runs on it.
  expect(samplerSchedule('dpm-solver-multistep', model.scheduler, { steps: 50 }).steps).toHaveLength(50);
});

test('Stable Diffusion 2.1: heads per level, linear projections, v-prediction', async () => {
  const model = await loadModelConfig(
    writeModel({
      'unet/config.json': { attention_head_dim: [5, 10, 20, 20], cross_attention_dim: 1024, use_linear_projection: true },
      'text_encoder/config.json': {
        hidden_act: 'gelu',
        hidden_size: 1024,
        intermediate_size: 4096,
        num_attention_heads: 16,
        num_hidden_layers: 23,
        projection_dim: 512,
      },
      'scheduler/scheduler_config.json': { prediction_type: 'v_prediction' },
    }),
  );
  expect(model.unet.heads).toEqual([5, 10, 20, 20]);
  expect(model.text).toMatchObject({ activation: 'gelu', layers: 23, heads: 16 });
  expect(model.scheduler.predictionType).toBe('v_prediction');
});

test('defaults are those of diffusers', async () => {
  // Only what differs from UNet2DConditionModel's and AutoencoderKL's own defaults is in the files.
  writeModel();
  writeFileSync(path.join(root, 'unet/config.json'), '{"cross_attention_dim": 768}');
  writeFileSync(path.join(root, 'vae/config.json'), '{}');
  writeFileSync(path.join(root, 'scheduler/scheduler_config.json'), '{}');
  const { unet, vae, scheduler } = await loadModelConfig(root);
  expect(unet).toMatchObject({ blockOutChannels: [320, 640, 1280, 1280], heads: [8, 8, 8, 8], layersPerBlock: [2, 2, 2, 2] });
  expect(vae).toMatchObject({ blockOutChannels: [64], layersPerBlock: 1, downscale: 1 });
  expect(scheduler).toMatchObject({ betaStart: 0.0001, betaEnd: 0.02, betaSchedule: 'linear', setAlphaToOne: null });
});

test("what StableDiffusionPipeline corrects in old folders", async () => {
  const read = async (unet: Json, scheduler: Json = {}) => loadModelConfig(writeModel({ 'unet/config.json': unet, 'scheduler/scheduler_config.json': scheduler }));
  expect((await read({ sample_size: 32, _diffusers_version: '0.2.2' })).unet.sampleSize).toEqual([64, 64]);
  expect((await read({ sample_size: 96, _diffusers_version: '0.8.0' })).unet.sampleSize).toEqual([96, 96]);
  expect((await read({ sample_size: 32, _diffusers_version: '0.10.2' })).unet.sampleSize).toEqual([32, 32]);
  expect((await read({}, { steps_offset: 0, clip_sample: true })).scheduler.stepsOffset).toBe(1);
});

test("what diffusers and transformers write today, Python's -Infinity included", async () => {
  const dpm = `{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver++", "beta_end": 0.012,
    "beta_schedule": "scaled_linear", "beta_start": 0.00085, "dynamic_thresholding_ratio": 0.995,
    "euler_at_final": false, "final_sigmas_type": "zero", "flow_shift": 1.0, "lambda_min_clipped": -Infinity,
    "lower_order_final": true, "num_train_timesteps": 1000, "prediction_type": "epsilon",
    "rescale_betas_zero_snr": false, "sample_max_value": 1.0, "solver_order": 2, "solver_type": "midpoint",
    "steps_offset": 0, "thresholding": false, "time_shift_type": "exponential", "timestep_spacing": "linspace",
    "trained_betas": null, "use_beta_sigmas": false, "use_dynamic_shifting": false, "use_exponential_sigmas": false,
    "use_flow_sigmas": false, "use_karras_sigmas": false, "use_lu_lambdas": false, "variance_type": null}`;
  const model = await loadModelConfig(
    writeModel({
      'scheduler/scheduler_config.json': dpm,
      'text_encoder/config.json': {
        dtype: 'float16',
        id2label: { '0': 'LABEL_0' },
        label2id: { LABEL_0: 0 },
        chunk_size_feed_forward: 0,
        return_dict: true,
        problem_type: null,
      },
    }),
  );
  expect(model.scheduler.timestepSpacing).toBe('linspace');
});

describe('weights', () => {
  const unet = 'unet/diffusion_pytorch_model';
  const none = { [`${unet}.safetensors`]: null };

  test.each(['fp16', 'bf16'])('%s variant', async (variant) => {
    const model = await loadModelConfig(writeModel({ ...none, [`${unet}.${variant}.safetensors`]: '' }));
    expect(model.unet.files).toEqual([path.join(root, `${unet}.${variant}.safetensors`)]);
  });

  test('full precision goes before a variant', async () => {
    const model = await loadModelConfig(writeModel({ [`${unet}.fp16.safetensors`]: '' }));
    expect(model.unet.files).toEqual([path.join(root, `${unet}.safetensors`)]);
  });

  test('shards go before a single file, as in diffusers; in the text encoder after it, as in transformers', async () => {
    const index = { weight_map: { x: 'a.safetensors' } };
    const model = await loadModelConfig(
      writeModel({
        [`${unet}.safetensors`]: '',
        [`${unet}.safetensors.index.json`]: index,
        ['unet/a.safetensors']: '',
        ['text_encoder/model.safetensors.index.json']: index,
        ['text_encoder/a.safetensors']: '',
      }),
    );
    expect(model.unet.files).toEqual([path.join(root, 'unet/a.safetensors')]);
    expect(model.text.files).toEqual([path.join(root, 'text_encoder/model.safetensors')]);
  });

  test('sharded', async () => {
    const shards = ['a-00001-of-00002.safetensors', 'a-00002-of-00002.safetensors'];
    const model = await loadModelConfig(
      writeModel({
        ...none,
        [`${unet}.safetensors.index.json`]: { weight_map: { x: shards[1], y: shards[0], z: shards[1] } },
        [`unet/${shards[0]}`]: '',
        [`unet/${shards[1]}`]: '',
      }),
    );
    expect(model.unet.files).toEqual(shards.map((name) => path.join(root, 'unet', name)));
  });

  test.each(['diffusion_pytorch_model.safetensors.index.fp16.json', 'diffusion_pytorch_model.safetensors.fp16.index.json'])('shards of a variant in %s', async (index) => {
    const shard = 'diffusion_pytorch_model.fp16-00001-of-00001.safetensors';
    const model = await loadModelConfig(writeModel({ ...none, [`unet/${index}`]: { weight_map: { x: shard } }, [`unet/${shard}`]: '' }));
    expect(model.unet.files).toEqual([path.join(root, 'unet', shard)]);
  });

  test.each(['weights of a cat+dog (1).safetensors', 'büro.safetensors', 'shards/a.safetensors', '...safetensors'])('a shard may be called %s', async (name) => {
    const model = await loadModelConfig(writeModel({ ...none, [`${unet}.safetensors.index.json`]: { weight_map: { x: name } }, [`unet/${name}`]: '' }));
    expect(model.unet.files).toEqual([path.join(root, 'unet', name)]);
  });

  test.each(['', '../x.safetensors', '/x.safetensors', 'a/../../x.safetensors', './x.safetensors', 'a//x.safetensors', 'a\\x.safetensors', 'a\0.safetensors', 'x.bin'])('a shard may not be called %j', async (name) => {
    expect(await failure({ ...none, [`${unet}.safetensors.index.json`]: { weight_map: { x: name } } })).toMatch(/^CONES_CONFIG_INVALID .*weight_map/);
  });

  test.each([
    ['none', none, 'CONES_MODEL_NOT_FOUND', 'no diffusion_pytorch_model.safetensors'],
    ['only a pickle, which is cut off', { ...none, [`${unet}.bin`]: '' }, 'CONES_CHECKPOINT_INVALID', 'diffusion_pytorch_model.bin'],
    ['a shard is missing', { ...none, [`${unet}.safetensors.index.json`]: { weight_map: { x: 'b.safetensors' } } }, 'CONES_MODEL_NOT_FOUND', 'b.safetensors'],
    ['a shard elsewhere', { ...none, [`${unet}.safetensors.index.json`]: { weight_map: { x: '../x.safetensors' } } }, 'CONES_CONFIG_INVALID', 'weight_map'],
    ['no shards', { ...none, [`${unet}.safetensors.index.json`]: { weight_map: {} } }, 'CONES_CONFIG_INVALID', 'weight_map'],
    ['no weight map', { ...none, [`${unet}.safetensors.index.json`]: {} }, 'CONES_CONFIG_INVALID', 'weight_map'],
  ])('%s', async (_, changes, code, text) => {
    const message = await failure(changes);
    expect(message).toContain(code);
    expect(message).toContain(text);
  });
});

describe('unsupported values are named', () => {
  test.each<[string, Json, string]>([
    ['unet/config.json', { act_fn: 'gelu' }, '"act_fn" is "gelu"'],
    ['unet/config.json', { down_block_types: [...crossAttn(3), 'AttnDownBlock2D'] }, '"down_block_types.3" is "AttnDownBlock2D"'],
    ['unet/config.json', { mid_block_type: 'UNetMidBlock2DSimpleCrossAttn' }, 'UNetMidBlock2DSimpleCrossAttn'],
    ['unet/config.json', { addition_embed_type: 'text_time' }, '"addition_embed_type" is "text_time"'],
    ['unet/config.json', { class_embed_type: 'timestep' }, '"class_embed_type"'],
    ['unet/config.json', { resnet_time_scale_shift: 'scale_shift' }, '"resnet_time_scale_shift"'],
    ['unet/config.json', { time_embedding_type: 'fourier' }, '"time_embedding_type"'],
    ['unet/config.json', { only_cross_attention: [false, true, false, false] }, '"only_cross_attention"'],
    ['unet/config.json', { cross_attention_dim: [768, 768, 768, 1024] }, '"cross_attention_dim"'],
    ['unet/config.json', { time_embedding_dim: 64 }, '"time_embedding_dim" is 64'],
    // UNet2DConditionModel raises for any value of it.
    ['unet/config.json', { num_attention_heads: 8 }, '"num_attention_heads" is 8'],
    ['unet/config.json', { num_attention_heads: [5, 10, 20, 20] }, '"num_attention_heads" is [ 5'],
    ['unet/config.json', { in_channels: 7 }, '"in_channels" is 7'],
    ['unet/config.json', { some_new_switch: true }, '"some_new_switch" is true'],
    ['text_encoder/config.json', { hidden_act: 'relu' }, '"hidden_act" is "relu"'],
    ['text_encoder/config.json', { model_type: 't5' }, '"model_type" is "t5"'],
    ['vae/config.json', { latents_mean: [0, 0, 0, 1] }, '"latents_mean"'],
    ['vae/config.json', { shift_factor: 0.1 }, '"shift_factor" is 0.1'],
    ['vae/config.json', { down_block_types: new Array(4).fill('AttnDownEncoderBlock2D') }, '"down_block_types.0"'],
    ['scheduler/scheduler_config.json', { _class_name: 'FlowMatchEulerDiscreteScheduler' }, 'FlowMatchEulerDiscreteScheduler'],
    ['scheduler/scheduler_config.json', { beta_schedule: 'sigmoid' }, '"beta_schedule" is "sigmoid"'],
    ['scheduler/scheduler_config.json', { prediction_type: 'sample' }, '"prediction_type" is "sample"'],
    ['model_index.json', { text_encoder: ['transformers', 'T5EncoderModel'] }, 'T5EncoderModel'],
    ['model_index.json', { text_encoder_2: ['transformers', 'CLIPTextModelWithProjection'] }, '"text_encoder_2"'],
  ])('%s %j', async (file, change, text) => {
    const message = await failure({ [file]: change });
    expect(message).toMatch(/^CONES_CONFIG_UNSUPPORTED /);
    expect(message).toContain(file);
    expect(message).toContain(text);
    expect(message).toContain('supported: ');
  });

  const solvers = ['dpm-solver-multistep', 'dpm-solver-multistep-sde', 'dpm-solver-singlestep', 'unipc-multistep'] as const;
  // Which of diffusers' classes read the key.
  test.each<[Json, ...SamplerName[]]>([
    [{ thresholding: true }, ...solvers, 'deis-multistep', 'ddim', 'lcm', 'tcd'],
    [{ solver_order: 3 }, ...solvers, 'deis-multistep'],
    [{ algorithm_type: 'sde-dpmsolver++' }, 'dpm-solver-multistep', 'dpm-solver-singlestep', 'deis-multistep'],
    [{ use_lu_lambdas: true }, 'dpm-solver-multistep', 'dpm-solver-multistep-sde'],
    [{ variance_type: 'learned_range' }, 'dpm-solver-multistep', 'dpm-solver-multistep-sde', 'dpm-solver-singlestep'],
    [{ final_sigmas_type: 'sigma_min' }, ...solvers, 'euler'],
    [{ use_exponential_sigmas: true }, ...solvers, 'deis-multistep', 'euler', 'heun', 'kdpm2', 'kdpm2-ancestral', 'lms'],
    [{ interpolation_type: 'log_linear' }, 'euler'],
    [{ timestep_type: 'continuous' }, 'euler'],
    [{ solver_type: 'bh1' }, 'unipc-multistep'],
    [{ predict_x0: false }, 'unipc-multistep'],
    [{ disable_corrector: [0] }, 'unipc-multistep'],
    [{ skip_prk_steps: false }, 'pndm'],
    [{ shift_terminal: 0.1 }],
    [{ thresholding: null, solver_type: 'bh2', variance_type: 'fixed_small', sigma_max: null }],
  ])('%j concerns the samplers that have it, when they are chosen: %s', async (change, ...samplers) => {
    const { scheduler } = await loadModelConfig(writeModel({ 'scheduler/scheduler_config.json': change }));
    for (const sampler of SAMPLER_NAMES) {
      let refusal: unknown;
      try {
        samplerSchedule(sampler, scheduler, { steps: 4 });
      } catch (error) {
        refusal = error;
      }
      const [key] = Object.keys(change);
      const expected = { code: 'CONES_CONFIG_UNSUPPORTED', message: expect.stringMatching(`scheduler_config\\.json: "${key}" is .*the sampler ${sampler}.*supported: `) as string };
      if (samplers.includes(sampler)) expect(refusal).toMatchObject(expected);
      else expect(refusal).toBeUndefined();
    }
    expect(samplers).not.toContain(usableSampler(scheduler));
  });

  test.each([
    [{ _class_name: 'PNDMScheduler' }, 'pndm'],
    [{ _class_name: 'EulerAncestralDiscreteScheduler' }, 'euler-ancestral'],
    [{ _class_name: 'LCMScheduler' }, 'lcm'],
    [{ _class_name: 'DPMSolverMultistepScheduler', algorithm_type: 'sde-dpmsolver++' }, 'dpm-solver-multistep-sde'],
    [{ _class_name: 'UniPCMultistepScheduler', solver_order: 3 }, 'ddim'],
    [{ _class_name: 'DEISMultistepScheduler', algorithm_type: 'deis' }, 'deis-multistep'],
  ] as const)('the scheduler %j draws with %s', async (change, sampler) => {
    expect((await loadModelConfig(writeModel({ 'scheduler/scheduler_config.json': change }))).scheduler.sampler).toBe(sampler);
  });

  test('harmless unknown keys pass', async () => {
    const change = { _private: 1, new_switch: false, new_option: null, new_list: [] };
    expect(await failure({ 'unet/config.json': change, 'scheduler/scheduler_config.json': change })).toBe('loaded');
    expect(await failure({ 'model_index.json': { image_encoder: [null, null], requires_safety_checker: true } })).toBe('loaded');
  });
});

describe('invalid values', () => {
  test.each<[string, Json | string, string]>([
    ['unet/config.json', '{"block_out_channels": [320,', 'not valid JSON'],
    ['unet/config.json', '[]', 'must hold a JSON object'],
    ['unet/config.json', `{"act_fn": ${'['.repeat(100_000)}${']'.repeat(100_000)}}`, 'nested deeper'],
    ['unet/config.json', `{"x": "${'a'.repeat(2 ** 20)}"}`, 'bytes'],
    ['unet/config.json', { block_out_channels: [320, 640, 1280] }, '"down_block_types" has 4 entries'],
    ['unet/config.json', { block_out_channels: [] }, '"block_out_channels" is []'],
    ['unet/config.json', { block_out_channels: [320, 640, -1280, 1280] }, '"block_out_channels.2" is -1280'],
    ['unet/config.json', { block_out_channels: [320, 640, 1280, 1e300] }, '"block_out_channels.3"'],
    ['unet/config.json', { norm_num_groups: 7 }, '"norm_num_groups" 7'],
    ['unet/config.json', { norm_num_groups: 0 }, '"norm_num_groups" is 0'],
    ['unet/config.json', { block_out_channels: [2, 640, 1280, 1280], freq_shift: 1 }, '"freq_shift" is half'],
    ['unet/config.json', { attention_head_dim: [8, 8] }, '"attention_head_dim" has 2 entries'],
    ['unet/config.json', { attention_head_dim: 7 }, '7 attention heads'],
    ['unet/config.json', { attention_head_dim: null }, '"attention_head_dim" is null'],
    ['unet/config.json', { layers_per_block: 2.5 }, '"layers_per_block" is 2.5'],
    ['unet/config.json', { norm_eps: 0 }, '"norm_eps" is 0'],
    ['unet/config.json', { cross_attention_dim: 1024 }, 'hidden_size'],
    ['text_encoder/config.json', { num_attention_heads: 7 }, '"num_attention_heads" 7'],
    ['text_encoder/config.json', { vocab_size: '49408' }, '"vocab_size" is "49408"'],
    ['vae/config.json', { scaling_factor: -1 }, '"scaling_factor" is -1'],
    ['vae/config.json', { norm_num_groups: 24 }, '"norm_num_groups" 24'],
    ['vae/config.json', { block_out_channels: [128] }, '"down_block_types" has 4 entries'],
    ['scheduler/scheduler_config.json', { beta_start: 0 }, '"beta_start" is 0'],
    ['scheduler/scheduler_config.json', { num_train_timesteps: 1 }, '"num_train_timesteps" is 1'],
    ['scheduler/scheduler_config.json', { trained_betas: [0.1, 0.2] }, '"trained_betas" has 2 entries'],
    ['model_index.json', { unet: 'UNet2DConditionModel' }, '"unet" must be a [library, class] pair'],
  ])('%s %.60j', async (file, change, text) => {
    const message = await failure({ [file]: change });
    expect(message).toMatch(/^CONES_CONFIG_INVALID /);
    expect(message).toContain(file);
    expect(message).toContain(text);
  });
});

describe('missing files', () => {
  test.each(['model_index.json', 'unet/config.json', 'text_encoder/config.json', 'vae/config.json', 'scheduler/scheduler_config.json'])(
    '%s',
    async (file) => {
      const message = await failure({ [file]: null });
      expect(message).toMatch(/^CONES_MODEL_NOT_FOUND /);
      expect(message).toContain(file);
    },
  );

  test('the folder itself', async () => {
    await expect(loadModelConfig(path.join(root, 'nowhere'))).rejects.toMatchObject({ code: 'CONES_MODEL_NOT_FOUND' });
  });

  test('a folder where a file should be', async () => {
    writeModel({ 'unet/config.json': null });
    mkdirSync(path.join(root, 'unet/config.json'));
    await expect(loadModelConfig(root)).rejects.toMatchObject({ code: 'CONES_IO' });
  });
});
