// Models in one file draw what the folder draws that they are made from, to the bit. test/goldens says that the folder is right.
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Engine, type EngineOptions } from '../../lib';
import { loadModelConfig } from '../../lib/models';
import { convertSingleFile } from '../../lib/models/single-file/convert';
import { clipVocabulary } from '../../lib/text/clip-vocabulary';
import { compVis, type RawTensors, readRaw, writeCheckpoint, writeSafetensors } from '../checkpoints';
import { MODEL } from '../runtime/model';

let folder: string;
beforeAll(() => void (folder = mkdtempSync(path.join(os.tmpdir(), 'cones-single-'))));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string) => path.join(folder, name);

async function draw(model: string, options: EngineOptions = {}) {
  await using engine = await Engine.load(model, { device: 'cpu', threads: 1, ...options });
  const { images } = await engine.generate({ prompt: 'a q cat', steps: 2, seed: 3 });
  return { pixels: Buffer.from(images[0]!.data), fingerprint: engine.fingerprint };
}

let whole: Awaited<ReturnType<typeof draw>>;
beforeAll(async () => void (whole = await draw(MODEL)));

const failure = (promise: Promise<unknown>) => promise.then(() => 'loaded', ({ code, message }: { code: string; message: string }) => `${code} ${message}`);
const loadFile = (tensors: RawTensors, options: EngineOptions = {}) => failure(draw(writeSafetensors(at('x.safetensors'), tensors), { config: MODEL, ...options }));

/** Averaged weights as LitEma names them. */
function withEma(tensors: RawTensors): RawTensors {
  const out: RawTensors = new Map(tensors);
  for (const [name, tensor] of tensors) {
    if (!name.startsWith('model.diffusion_model.')) continue;
    out.set(`model_ema.${name.slice('model.'.length).replaceAll('.', '')}`, tensor);
    out.set(name, { ...tensor, bytes: Buffer.from(tensor.bytes.map((byte, i) => (i % 4 === 0 ? byte ^ 1 : byte))) });
  }
  return out;
}

test.each([
  ['safetensors', () => writeSafetensors(at('a.safetensors'), compVis(MODEL))],
  ['a checkpoint', () => writeCheckpoint(at('a.ckpt'), compVis(MODEL))],
  ['a checkpoint of a training', () => writeCheckpoint(at('b.ckpt'), compVis(MODEL), { wrapped: true })],
  ['a checkpoint that is called safetensors', () => writeCheckpoint(at('c.safetensors'), compVis(MODEL))],
  ["OpenCLIP's text encoder", () => writeSafetensors(at('d.safetensors'), compVis(MODEL, { second: true }))],
  ['with things of a training beside', () => writeSafetensors(at('e.safetensors'), new Map([...compVis(MODEL), ...['betas', 'first_stage_model.loss.logvar', 'model_ema.decay', 'cond_stage_model.transformer.text_model.embeddings.position_ids'].map((name) => [name, { dtype: 'I64', shape: [1], bytes: Buffer.alloc(8) }] as const)]))],
])('%s', async (_, write) => expect(await draw(write(), { config: MODEL })).toEqual(whole));

test('averaged weights are taken where they are asked for', async () => {
  const file = writeSafetensors(at('ema.safetensors'), withEma(compVis(MODEL)));
  expect(await draw(file, { config: MODEL, ema: true })).toEqual(whole);
  expect((await draw(file, { config: MODEL })).fingerprint).not.toBe(whole.fingerprint);
  expect(await loadFile(compVis(MODEL), { ema: true })).toMatch(/^CONES_OPTION_INVALID .*ema/);
});

test('a folder with .bin files', async () => {
  const copy = at('bin');
  cpSync(MODEL, copy, { recursive: true });
  for (const [part, from, to] of [['unet', 'diffusion_pytorch_model', 'diffusion_pytorch_model'], ['vae', 'diffusion_pytorch_model', 'diffusion_pytorch_model'], ['text_encoder', 'model', 'pytorch_model']] as const) {
    const file = path.join(copy, part, `${from}.safetensors`);
    writeCheckpoint(path.join(copy, part, `${to}.bin`), readRaw(file));
    rmSync(file);
  }
  expect(await draw(copy)).toEqual(whole);
  // In shards.
  const unet = [...readRaw(path.join(MODEL, 'unet', 'diffusion_pytorch_model.safetensors'))];
  const names = ['a.bin', 'b.bin'];
  names.forEach((name, i) => writeCheckpoint(path.join(copy, 'unet', name), new Map(unet.filter((_, n) => n % 2 === i))));
  rmSync(path.join(copy, 'unet', 'diffusion_pytorch_model.bin'));
  writeFileSync(path.join(copy, 'unet', 'diffusion_pytorch_model.bin.index.json'), JSON.stringify({ weight_map: Object.fromEntries(unet.map(([name], i) => [name, names[i % 2]])) }));
  expect(await draw(copy)).toEqual(whole);
});

test.each([false, true])('converted to a folder (second: %s)', async (second) => {
  const file = writeSafetensors(at('convert.safetensors'), compVis(MODEL, { second }));
  const target = at(`converted-${second}`);
  await convertSingleFile(file, target, { config: MODEL });
  expect(await draw(target)).toEqual(whole);
  for (const part of ['unet', 'vae', 'text_encoder']) expect(readFileSync(path.join(target, part, 'config.json'))).toEqual(readFileSync(path.join(MODEL, part, 'config.json')));
  // Byte for byte what the folder had that the file was made from.
  for (const part of ['unet/diffusion_pytorch_model', 'vae/diffusion_pytorch_model']) {
    expect(new Map([...readRaw(path.join(target, `${part}.safetensors`))].sort())).toEqual(new Map([...readRaw(path.join(MODEL, `${part}.safetensors`))].sort()));
  }
  expect(await failure(convertSingleFile(file, target, { config: MODEL }))).toMatch(/^CONES_OPTION_INVALID .*not empty/);
  expect(await failure(convertSingleFile(MODEL, at('other')))).toMatch(/^CONES_/);
  expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
});

describe('what is no such model is named', () => {
  const zeros = (shape: readonly number[], dtype = 'F16') => ({ dtype, shape, bytes: Buffer.alloc(2 * shape.reduce((a, b) => a * b, 1)) });
  const named = (...names: string[]): RawTensors => new Map(names.map((name) => [name, zeros([1])]));
  const changed = (name: string, shape: readonly number[]) => new Map([...compVis(MODEL), [name, zeros(shape)] as const]);
  const without = (prefix: string) => new Map([...compVis(MODEL)].filter(([name]) => !name.startsWith(prefix)));
  const FIRST = 'model.diffusion_model.input_blocks.0.0.weight';

  test.each([
    ['SDXL', new Map([...compVis(MODEL), ...named('conditioner.embedders.0.transformer.text_model.final_layer_norm.weight')]), 'SDXL'],
    ['Stable Diffusion 3', named('model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight'), 'Stable Diffusion 3'],
    ['FLUX', named('double_blocks.0.img_attn.qkv.weight'), 'FLUX'],
    ['a LoRA of kohya', named('lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight'), 'a LoRA'],
    ['a LoRA of PEFT', named('unet.down_blocks.0.attentions.0.to_k.lora_A.weight'), 'a LoRA'],
    ['textual inversion', named('emb_params'), 'textual inversion'],
    ['a ControlNet', named('control_model.time_embed.0.weight'), 'a ControlNet'],
    ['a VAE', named('decoder.conv_in.weight', 'encoder.conv_in.weight'), 'an autoencoder'],
    ['a UNet of diffusers', named('down_blocks.0.resnets.0.conv1.weight'), "diffusers' names"],
    ['the upscaler', changed(FIRST, [16, 7, 3, 3]), 'upscaler'],
    ['depth', changed(FIRST, [16, 5, 3, 3]), 'depth'],
    ['unCLIP', changed('model.diffusion_model.label_emb.0.0.weight', [1]), 'unCLIP'],
    ['something else', named('a'), 'no diffusion model'],
    ['without an autoencoder', without('first_stage_model.'), 'without an autoencoder'],
    ['without a text encoder', without('cond_stage_model.'), 'without a text encoder'],
  ])('%s', async (_, tensors, text) => {
    const message = await loadFile(tensors);
    expect(message).toMatch(/^CONES_CONFIG_UNSUPPORTED /);
    expect(message).toContain(text);
  });

  test('a weight more, and a weight less', async () => {
    expect(await loadFile(changed('model.diffusion_model.extra.weight', [1]))).toMatch(/^CONES_TENSOR_UNEXPECTED .*extra\.weight/);
    expect(await loadFile(without('model.diffusion_model.time_embed.2.bias'))).toMatch(/^CONES_TENSOR_MISSING .*time_embedding\.linear_2\.bias/);
  });

  test('options of files, and of folders', async () => {
    for (const option of [{ config: MODEL }, { ema: true }, { prediction: 'epsilon' as const }]) {
      expect(await failure(draw(MODEL, option))).toMatch(new RegExp(`^CONES_OPTION_INVALID .*${Object.keys(option)[0]}`));
    }
    expect(await loadFile(compVis(MODEL), { config: at('nowhere') })).toMatch(/^CONES_MODEL_NOT_FOUND /);
  });
});

/** Stable Diffusion's own sizes, in a file of nothing but a header: its bytes are a hole. */
function hollow(name: string, second: boolean, inChannels = 4): string {
  const header: Record<string, object> = {};
  let end = 0;
  const add = (tensor: string, ...shape: number[]) => {
    header[tensor] = { dtype: 'F16', shape, data_offsets: [end, (end += 2 * shape.reduce((a, b) => a * b, 1))] };
  };
  const layer = (tensor: string, out: number, ...rest: number[]) => (add(`${tensor}.weight`, out, ...rest), add(`${tensor}.bias`, out));
  const context = second ? 1024 : 768;
  const resnet = (prefix: string, from: number, to: number) => {
    layer(`${prefix}.in_layers.0`, from);
    layer(`${prefix}.in_layers.2`, to, from, 3, 3);
    layer(`${prefix}.emb_layers.1`, to, 1280);
    layer(`${prefix}.out_layers.0`, to);
    layer(`${prefix}.out_layers.3`, to, to, 3, 3);
    if (from !== to) layer(`${prefix}.skip_connection`, to, from, 1, 1);
  };
  const transformer = (prefix: string, width: number) => {
    const square = second ? [] : [1, 1];
    layer(`${prefix}.norm`, width);
    layer(`${prefix}.proj_in`, width, width, ...square);
    const block = `${prefix}.transformer_blocks.0`;
    for (const [attention, kv] of [['attn1', width], ['attn2', context]] as const) {
      add(`${block}.${attention}.to_q.weight`, width, width);
      for (const projection of ['to_k', 'to_v']) add(`${block}.${attention}.${projection}.weight`, width, kv);
      layer(`${block}.${attention}.to_out.0`, width, width);
    }
    for (const norm of ['norm1', 'norm2', 'norm3']) layer(`${block}.${norm}`, width);
    layer(`${block}.ff.net.0.proj`, 8 * width, width);
    layer(`${block}.ff.net.2`, width, 4 * width);
    layer(`${prefix}.proj_out`, width, width, ...square);
  };
  const unet = 'model.diffusion_model';
  layer(`${unet}.time_embed.0`, 1280, 320);
  layer(`${unet}.time_embed.2`, 1280, 1280);
  layer(`${unet}.input_blocks.0.0`, 320, inChannels, 3, 3);
  // openaimodel.py with channel_mult [1, 2, 4, 4] and attention on all levels but the last.
  const skips = [320];
  let width = 320;
  let index = 1;
  for (const [level, to] of [320, 640, 1280, 1280].entries()) {
    for (let i = 0; i < 2; i++, index++) {
      resnet(`${unet}.input_blocks.${index}.0`, width, to);
      if (level < 3) transformer(`${unet}.input_blocks.${index}.1`, to);
      skips.push((width = to));
    }
    if (level < 3) {
      layer(`${unet}.input_blocks.${index++}.0.op`, width, width, 3, 3);
      skips.push(width);
    }
  }
  resnet(`${unet}.middle_block.0`, 1280, 1280);
  transformer(`${unet}.middle_block.1`, 1280);
  resnet(`${unet}.middle_block.2`, 1280, 1280);
  index = 0;
  for (const [level, to] of [1280, 1280, 640, 320].entries()) {
    for (let i = 0; i < 3; i++, index++) {
      resnet(`${unet}.output_blocks.${index}.0`, width + skips.pop()!, to);
      if (level > 0) transformer(`${unet}.output_blocks.${index}.1`, to);
      width = to;
      if (i === 2 && level < 3) layer(`${unet}.output_blocks.${index}.${level > 0 ? 2 : 1}.conv`, to, to, 3, 3);
    }
  }
  layer(`${unet}.out.0`, 320);
  layer(`${unet}.out.2`, 4, 320, 3, 3);

  const vaeResnet = (prefix: string, from: number, to: number) => {
    layer(`${prefix}.norm1`, from);
    layer(`${prefix}.conv1`, to, from, 3, 3);
    layer(`${prefix}.norm2`, to);
    layer(`${prefix}.conv2`, to, to, 3, 3);
    if (from !== to) layer(`${prefix}.nin_shortcut`, to, from, 1, 1);
  };
  const vae = 'first_stage_model';
  const middle = (half: string) => {
    for (const block of ['block_1', 'block_2']) vaeResnet(`${vae}.${half}.mid.${block}`, 512, 512);
    layer(`${vae}.${half}.mid.attn_1.norm`, 512);
    for (const part of ['q', 'k', 'v', 'proj_out']) layer(`${vae}.${half}.mid.attn_1.${part}`, 512, 512, 1, 1);
  };
  const widths = [128, 256, 512, 512];
  layer(`${vae}.encoder.conv_in`, 128, 3, 3, 3);
  width = 128;
  for (const [level, to] of widths.entries()) {
    for (let i = 0; i < 2; i++) vaeResnet(`${vae}.encoder.down.${level}.block.${i}`, i === 0 ? width : to, to);
    if (level < 3) layer(`${vae}.encoder.down.${level}.downsample.conv`, to, to, 3, 3);
    width = to;
  }
  middle('encoder');
  layer(`${vae}.encoder.norm_out`, 512);
  layer(`${vae}.encoder.conv_out`, 8, 512, 3, 3);
  layer(`${vae}.quant_conv`, 8, 8, 1, 1);
  layer(`${vae}.post_quant_conv`, 4, 4, 1, 1);
  layer(`${vae}.decoder.conv_in`, 512, 4, 3, 3);
  middle('decoder');
  for (const [i, level] of [3, 2, 1, 0].entries()) {
    const [from, to] = [i === 0 ? 512 : widths[level + 1]!, widths[level]!];
    for (let b = 0; b < 3; b++) vaeResnet(`${vae}.decoder.up.${level}.block.${b}`, b === 0 ? from : to, to);
    if (level > 0) layer(`${vae}.decoder.up.${level}.upsample.conv`, to, to, 3, 3);
  }
  layer(`${vae}.decoder.norm_out`, 128);
  layer(`${vae}.decoder.conv_out`, 3, 128, 3, 3);

  if (second) {
    const text = 'cond_stage_model.model';
    add(`${text}.positional_embedding`, 77, 1024);
    add(`${text}.text_projection`, 1024, 1024);
    add(`${text}.logit_scale`);
    add(`${text}.token_embedding.weight`, 49408, 1024);
    layer(`${text}.ln_final`, 1024);
    for (let i = 0; i < 24; i++) {
      const block = `${text}.transformer.resblocks.${i}`;
      add(`${block}.attn.in_proj_weight`, 3072, 1024);
      add(`${block}.attn.in_proj_bias`, 3072);
      layer(`${block}.attn.out_proj`, 1024, 1024);
      layer(`${block}.ln_1`, 1024);
      layer(`${block}.ln_2`, 1024);
      layer(`${block}.mlp.c_fc`, 4096, 1024);
      layer(`${block}.mlp.c_proj`, 1024, 4096);
    }
  } else {
    const text = 'cond_stage_model.transformer.text_model';
    add(`${text}.embeddings.token_embedding.weight`, 49408, 768);
    add(`${text}.embeddings.position_embedding.weight`, 77, 768);
    layer(`${text}.final_layer_norm`, 768);
    for (let i = 0; i < 12; i++) {
      const block = `${text}.encoder.layers.${i}`;
      for (const part of ['q_proj', 'k_proj', 'v_proj', 'out_proj']) layer(`${block}.self_attn.${part}`, 768, 768);
      layer(`${block}.layer_norm1`, 768);
      layer(`${block}.layer_norm2`, 768);
      layer(`${block}.mlp.fc1`, 3072, 768);
      layer(`${block}.mlp.fc2`, 768, 3072);
    }
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  writeFileSync(at(name), Buffer.concat([length, text]));
  truncateSync(at(name), 8 + text.length + end);
  return at(name);
}

describe("Stable Diffusion's own sizes", () => {
  test('1.x', async () => {
    const { unet, text, vae, scheduler } = await loadModelConfig(hollow('sd1.safetensors', false));
    // Of stable-diffusion-v1-5's configs.
    expect(unet).toMatchObject({ sampleSize: [64, 64], inChannels: 4, blockOutChannels: [320, 640, 1280, 1280], layersPerBlock: [2, 2, 2, 2], heads: [8, 8, 8, 8], crossAttentionDim: 768, downAttention: [true, true, true, false], upAttention: [false, true, true, true], transformerLayers: [1, 1, 1, 1], normGroups: 32, midBlock: true });
    expect(text).toMatchObject({ vocabSize: 49408, hiddenSize: 768, intermediateSize: 3072, layers: 12, heads: 12, maxPositions: 77, activation: 'quick_gelu' });
    expect(vae).toMatchObject({ blockOutChannels: [128, 256, 512, 512], layersPerBlock: 2, latentChannels: 4, midAttention: true, quantConv: true, postQuantConv: true, scalingFactor: 0.18215 });
    expect(scheduler).toMatchObject({ predictionType: 'epsilon', betaStart: 0.00085, betaEnd: 0.012, betaSchedule: 'scaled_linear', numTrainTimesteps: 1000 });
  });

  test('2.x', async () => {
    const file = hollow('sd2.safetensors', true);
    const { unet, text, scheduler, guessed } = await loadModelConfig(file);
    // Of stable-diffusion-2-1's configs.
    expect(unet).toMatchObject({ sampleSize: [96, 96], heads: [5, 10, 20, 20], crossAttentionDim: 1024 });
    expect(text).toMatchObject({ vocabSize: 49408, hiddenSize: 1024, intermediateSize: 4096, layers: 23, heads: 16, activation: 'gelu' });
    expect([scheduler.predictionType, guessed]).toEqual(['v_prediction', true]);
    const base = await loadModelConfig(file, { prediction: 'epsilon' });
    expect([base.unet.sampleSize, base.scheduler.predictionType, base.guessed]).toEqual([[64, 64], 'epsilon', false]);
  });

  test.each([[false, 'endoftext', 49407], [true, '!', 0]] as const)('no tensor is missing or left over, and the tokenizer is CLIP\'s (second: %s)', async (second, pad, id) => {
    await using engine = await Engine.load(hollow('plan.safetensors', second), { device: 'cpu', planOnly: true, memoryLimit: 2 ** 40 });
    expect(engine.kvTensors.length).toBe(64);
    expect(engine.warnings.map(({ code }) => code).filter((code) => code === 'prediction-guessed')).toEqual(second ? ['prediction-guessed'] : []);
    const vocabulary = await clipVocabulary(second ? '!' : '<|endoftext|>');
    expect(vocabulary.vocab[vocabulary.pad]).toBe(id);
    expect(vocabulary.pad).toContain(pad);
    expect(Object.keys(vocabulary.vocab).length).toBe(49408);
  });

  test.each([8, 9])('%i channels: instructions, inpainting', async (channels) => {
    const file = hollow('more-channels.safetensors', false, channels);
    expect((await loadModelConfig(file)).unet.inChannels).toBe(channels);
    await using engine = await Engine.load(file, { device: 'cpu', planOnly: true, memoryLimit: 2 ** 40 });
    expect(engine.planGenerate({ image: true }).peak).toBeGreaterThan(0);
  });
});
