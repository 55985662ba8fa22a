// Adapters from elsewhere: diffusers' pictures with them (test/goldens/adapters, made by scripts/golden_adapters.py), and what each
// picture of a batch owes to its own alone.
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type Adapter, type AdapterChoice, type Engine, type GenerateOptions } from '../../lib';
import { Golden } from '../goldens/golden';
import { conceptOf, load, MODEL } from '../runtime/model';
import { type RawTensors, readRaw, writeSafetensors } from '../checkpoints';

const FOLDER = path.join(__dirname, '../goldens/adapters');
const golden = new Golden(FOLDER);
const about = JSON.parse(readFileSync(path.join(FOLDER, 'golden.json'), 'utf8')) as { steps: number; guidance: number; negativePrompt: string; prompts: Record<string, string> };
const file = (name: string) => path.join(FOLDER, name);

let engine: Engine;
let folder: string;
const loaded = new Map<string, Adapter>();
beforeAll(async () => {
  engine = await load();
  folder = mkdtempSync(path.join(os.tmpdir(), 'cones-adapters-'));
  for (const name of ['diffusers.safetensors', 'kohya.safetensors', 'locon.safetensors', 'compvis.safetensors', 'learned_embeds.safetensors', 'webui.pt', 'pytorch_custom_diffusion_weights.bin']) {
    loaded.set(path.parse(name).name, await engine.loadAdapter(file(name)));
  }
});
afterAll(async () => {
  await engine.dispose();
  rmSync(folder, { recursive: true });
});
const at = (name: string) => path.join(folder, name);
const adapter = (name: string) => loaded.get(name)!;

const latents = async (options: GenerateOptions) => {
  const result = await engine.generate({ steps: 2, seed: 5, prompt: 'a cat', output: 'latents', ...options });
  return result.latents!.data;
};
const failure = (promise: Promise<unknown>) => promise.then(() => 'loaded', ({ code, message }: { code: string; message: string }) => `${code} ${message}`);

const CASES: Record<string, readonly AdapterChoice[] | (() => readonly AdapterChoice[])> = {
  plain: [],
  diffusers: () => [adapter('diffusers')],
  'diffusers.0.7': () => [{ adapter: adapter('diffusers'), weight: 0.7 }],
  kohya: () => [{ adapter: adapter('kohya') }],
  locon: () => [adapter('locon')],
  compvis: () => [adapter('compvis')],
  several: () => [{ adapter: adapter('kohya'), weight: 0.8 }, { adapter: adapter('locon'), weight: -0.5 }, { adapter: adapter('diffusers'), weight: 0.3 }],
  words: () => [adapter('learned_embeds')],
  webui: () => [adapter('webui')],
  'custom-diffusion': () => [adapter('pytorch_custom_diffusion_weights')],
};

describe('as diffusers draws', () => {
  test.each(Object.entries(CASES))('%s', async (name, choices) => {
    const noise = { data: Float32Array.from(golden.data('noise')), shape: [1, 4, 8, 8] as const };
    const { steps, guidance, negativePrompt, prompts } = about;
    const drawn = await latents({ prompt: prompts[name]!, negativePrompt, steps, guidance, sampler: 'dpm-solver-multistep', latents: noise, adapters: typeof choices === 'function' ? choices() : choices });
    expect(golden.judge(name, drawn)).toMatchObject({ ok: true });
  });

  test('what they are', () => {
    expect(adapter('kohya')).toMatchObject({ kind: 'lora', name: 'kohya', rank: 5, words: [] });
    expect(adapter('diffusers')).toMatchObject({ kind: 'lora', rank: 4 });
    expect(adapter('learned_embeds')).toMatchObject({ kind: 'textual-inversion', rank: 0, layers: 0, size: 0, words: ['<toy>'] });
    expect(adapter('webui').words).toEqual(['<webui>']);
    expect(adapter('pytorch_custom_diffusion_weights')).toMatchObject({ kind: 'custom-diffusion', layers: 16 });
    expect(adapter('locon').size).toBeGreaterThan(0);
  });
});

describe('each picture by itself', () => {
  test('a batch of different adapters, concepts and none is what each draws alone, bit for bit', async () => {
    const concept = conceptOf(engine, 0);
    const rows: { adapters: readonly AdapterChoice[]; concepts: (typeof concept)[] }[] = [
      { adapters: [adapter('kohya')], concepts: [] },
      { adapters: [], concepts: [] },
      { adapters: [{ adapter: adapter('locon'), weight: 0.4 }, adapter('diffusers')], concepts: [concept] },
      { adapters: [adapter('pytorch_custom_diffusion_weights')], concepts: [concept] },
      { adapters: [{ adapter: adapter('kohya'), weight: -1 }], concepts: [] },
    ];
    const together = await latents({ prompt: rows.map(() => 'a V1* cat'), adapters: rows.map(({ adapters }) => adapters), concepts: rows.map(({ concepts }) => concepts), batchSize: 5 });
    const size = together.length / rows.length;
    const seen = new Set<string>();
    for (const [i, { adapters, concepts }] of rows.entries()) {
      const alone = await latents({ prompt: 'a V1* cat', adapters, concepts });
      expect(together.slice(i * size, (i + 1) * size)).toEqual(alone);
      seen.add(Buffer.from(alone.buffer).toString('hex'));
    }
    expect(seen.size).toBe(rows.length);
  });

  test('calls whose steps are taken together, too', async () => {
    const calls = [[adapter('kohya')], [], [{ adapter: adapter('locon'), weight: 2 }]];
    const together = await Promise.all(calls.map((adapters) => latents({ adapters, steps: 4 })));
    for (const [i, adapters] of calls.entries()) expect(together[i]).toEqual(await latents({ adapters, steps: 4 }));
  });

  test('none, and a weight of 0, leave every bit as it is', async () => {
    const plain = await latents({});
    expect(await latents({ adapters: [] })).toEqual(plain);
    expect(await latents({ adapters: [{ adapter: adapter('kohya'), weight: 0 }] })).toEqual(plain);
    expect(engine.fingerprint).toBe((await load()).fingerprint);
  });

  test('one that is disposed while it draws is drawn with to the end, and then gone', async () => {
    const own = await engine.loadAdapter(file('kohya.safetensors'), { name: 'own' });
    const before = engine.memory().inUse;
    const drawing = latents({ adapters: [own], steps: 6 });
    await new Promise((resolve) => setTimeout(resolve, 1));
    const wanted = await latents({ adapters: [adapter('kohya')], steps: 6 });
    own.dispose();
    own.dispose();
    const drawn = await drawing.catch(({ code }: { code: string }) => code);
    // Either it had begun, or it is told.
    expect([wanted, 'CONES_DISPOSED']).toContainEqual(drawn);
    expect(own.size).toBe(0);
    expect(engine.memory().inUse).toBeLessThan(before);
    expect(await failure(latents({ adapters: [own] }))).toMatch(/^CONES_DISPOSED The adapter own was disposed/);
  });

  test('planned memory has what they need', () => {
    const plan = (adapters: readonly Adapter[]) => engine.planGenerate({ count: 4, adapters }).peak;
    expect(plan([adapter('locon')])).toBeGreaterThanOrEqual(plan([]));
  });

  test("another engine's are refused", async () => {
    await using other = await load();
    const foreign = await other.loadAdapter(file('kohya.safetensors'));
    expect(await failure(latents({ adapters: [foreign] }))).toMatch(/^CONES_ADAPTER_MISMATCH/);
  });
});

test('words are of their places, in negative prompts, too', async () => {
  const adapters = [adapter('learned_embeds')];
  const plain = await latents({ prompt: 'a toy' });
  expect(await latents({ prompt: 'a toy', adapters })).toEqual(plain);
  expect(await latents({ prompt: 'a toy', negativePrompt: '<TOY>', adapters })).not.toEqual(await latents({ prompt: 'a toy', negativePrompt: 'toy', adapters }));
  expect(await failure(latents({ adapters: [{ adapter: adapter('webui'), weight: 0.5 }] }))).toMatch(/^CONES_OPTION_INVALID The weight of "webui" must be 1/);
  const renamed = await engine.loadAdapter(file('webui.pt'), { name: 'mine' });
  expect(await latents({ prompt: 'a mine', adapters: [renamed] })).toEqual(await latents({ prompt: 'a <webui>', adapters: [adapter('webui')] }));
});

test('a picture says what it was drawn with, and is drawn again', async () => {
  const { images } = await engine.generate({ prompt: 'a <toy>', steps: 2, seed: 3, adapters: [{ adapter: adapter('kohya'), weight: 0.5 }, adapter('learned_embeds')] });
  const [picture] = images;
  expect(picture!.metadata).toMatchObject({ adapters: 'kohya, learned_embeds', adapterHashes: `${adapter('kohya').hash}, ${adapter('learned_embeds').hash}`, adapterWeights: '0.5, 1' });
  await picture!.save(at('drawn.png'));
  const again = await engine.drawAgain(at('drawn.png'), { adapters: [adapter('learned_embeds'), adapter('kohya')] });
  expect(Buffer.from(again.images[0]!.data)).toEqual(Buffer.from(picture!.data));
  expect(await failure(engine.drawAgain(at('drawn.png')))).toMatch(/^CONES_PICTURE_MISMATCH/);
  expect(await failure(engine.drawAgain(at('drawn.png'), { adapters: [adapter('learned_embeds'), adapter('kohya'), adapter('locon')] }))).toMatch(/^CONES_PICTURE_MISMATCH .*locon/);
});

describe('names', () => {
  const kohya = () => readRaw(file('kohya.safetensors'));
  const renamed = (rename: (name: string) => string): RawTensors => new Map(Array.from(readRaw(file('diffusers.safetensors')), ([name, tensor]) => [rename(name), tensor]));
  const drawnWith = async (tensors: RawTensors) => latents({ adapters: [await engine.loadAdapter(writeSafetensors(at('x.safetensors'), tensors))] });

  test.each<[string, (name: string) => string]>([
    ['lora.down', (name) => name.replace('lora_A', 'lora.down').replace('lora_B', 'lora.up')],
    ['lora_linear_layer', (name) => name.replace('lora_A', 'lora_linear_layer.down').replace('lora_B', 'lora_linear_layer.up')],
    ['attention processors', (name) => name.replace(/\.(to_[qkv]|to_out\.0)\.lora_([AB])/, (_, layer: string, half: string) => `.processor.${layer.replace('.0', '')}_lora.${half === 'A' ? 'down' : 'up'}`)],
    ['PEFT', (name) => name.replace(/^(unet|text_encoder)\./, 'base_model.model.').replace('.weight', '.default.weight')],
  ])('%s', async (_, rename) => {
    // Without metadata alpha is the rank.
    expect(await drawnWith(renamed(rename))).toEqual(await drawnWith(renamed((name) => name)));
  });

  test('words that a LoRA brings along', async () => {
    const [[, vectors]] = [...readRaw(file('learned_embeds.safetensors'))] as [[string, RawTensors extends Map<string, infer T> ? T : never]];
    const tensors = new Map([...kohya(), ['bundle_emb.toy2.string_to_param.*', vectors] as const]);
    const both = await engine.loadAdapter(writeSafetensors(at('bundle.safetensors'), tensors));
    expect(both.words).toEqual(['toy2']);
    expect(await latents({ prompt: 'a toy2', adapters: [both] })).toEqual(await latents({ prompt: 'a <toy>', adapters: [adapter('kohya'), adapter('learned_embeds')] }));
  });

  test('bytes are as good as a file', async () => {
    const given = await engine.loadAdapter(readFileSync(file('locon.safetensors')), { name: 'bytes' });
    expect(given.hash).toBe(adapter('locon').hash);
    expect(await latents({ adapters: [given] })).toEqual(await latents({ adapters: [adapter('locon')] }));
  });

  test("PEFT's config beside the file has alphas", async () => {
    const tensors = renamed((name) => name.replace(/^(unet|text_encoder)\./, 'base_model.model.'));
    writeSafetensors(at('adapter_model.safetensors'), tensors);
    writeFileSync(at('adapter_config.json'), JSON.stringify({ r: 4, lora_alpha: 8 }));
    const withConfig = await engine.loadAdapter(at('adapter_model.safetensors'));
    copyFileSync(at('adapter_model.safetensors'), at('bare.safetensors'));
    const bare = await engine.loadAdapter(at('bare.safetensors'));
    expect(await latents({ adapters: [withConfig] })).not.toEqual(await latents({ adapters: [bare] }));
  });

  const shorten = (name: string, shape: readonly number[]) => (tensors: RawTensors) => {
    const tensor = tensors.get(name)!;
    tensors.set(name, { ...tensor, shape: [...shape], bytes: Buffer.alloc(shape.reduce((a, b) => a * b, 2)) });
  };
  const KEY = 'lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k';
  const add = (name: string, shape: readonly number[] = [1, 1]) => (tensors: RawTensors) => void tensors.set(name, { dtype: 'F16', shape: [...shape], bytes: Buffer.alloc(shape.reduce((a, b) => a * b, 2)) });
  const alpha = (...bytes: number[]) => (tensors: RawTensors) => void tensors.set(`${KEY}.alpha`, { dtype: 'F16', shape: [], bytes: Buffer.from(bytes) });
  test.each<[string, (tensors: RawTensors) => void, RegExp]>([
    ['a tensor that is none of a LoRA', add('lora_unet_x.bogus'), /^CONES_ADAPTER_INVALID .*lora_unet_x\.bogus/],
    ['a layer that the model has not', add('lora_unet_down_blocks_9_attentions_0_proj_in.lora_down.weight'), /^CONES_ADAPTER_MISMATCH .*down_blocks_9/],
    ['half of a pair', (tensors) => void tensors.delete(`${KEY}.lora_up.weight`), /^CONES_ADAPTER_INVALID .*without its other half/],
    ['a wrong shape', shorten(`${KEY}.lora_up.weight`, [3, 3]), /^CONES_ADAPTER_MISMATCH .*lora_up\.weight" \[3, 3\]/],
    ['a rank of 0', (tensors) => { shorten(`${KEY}.lora_up.weight`, [32, 0])(tensors); shorten(`${KEY}.lora_down.weight`, [0, 32])(tensors); }, /^CONES_ADAPTER_INVALID .*empty tensor/],
    ['alpha NaN', alpha(0xff, 0x7f), /^CONES_ADAPTER_INVALID .*NaN/],
    ['alpha infinite', alpha(0, 0x7c), /^CONES_ADAPTER_INVALID .*Infinity/],
    ['the text states of SDXL', (tensors) => [...tensors.keys()].filter((name) => /attn2_to_[kv]\.lora_down/.test(name)).forEach((name) => shorten(name, [4, 2048])(tensors)), /^CONES_ADAPTER_MISMATCH .*Stable Diffusion XL/],
    ["SDXL's second text encoder", add('lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight'), /^CONES_ADAPTER_MISMATCH .*Stable Diffusion XL/],
    ['DoRA', add(`${KEY}.dora_scale`), /^CONES_ADAPTER_INVALID .*DoRA/],
    ['LoHa', add(`${KEY}.hada_w1_a`), /^CONES_ADAPTER_INVALID .*LoHa/],
    ['LoKr', add(`${KEY}.lokr_w1`), /^CONES_ADAPTER_INVALID .*LoKr/],
    ['a layer twice', add('unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight'), /^CONES_ADAPTER_INVALID .*for one layer/],
  ])('refused: %s', async (_, change, message) => {
    const tensors = kohya();
    change(tensors);
    expect(await failure(engine.loadAdapter(writeSafetensors(at('bad.safetensors'), tensors)))).toMatch(message);
  });

  test('refused: what is no adapter', async () => {
    writeFileSync(at('text.safetensors'), 'no weights at all');
    expect(await failure(engine.loadAdapter(at('text.safetensors')))).toMatch(/^CONES_ADAPTER_INVALID .*is no adapter/);
    expect(await failure(engine.loadAdapter(at('missing.safetensors')))).toMatch(/^CONES_IO/);
    expect(await failure(engine.loadAdapter(path.join(MODEL, 'unet/diffusion_pytorch_model.safetensors')))).toMatch(/^CONES_ADAPTER_INVALID/);
    expect(await failure(engine.loadAdapter(writeSafetensors(at('wide.safetensors'), new Map([['<w>', { dtype: 'F16', shape: [1, 768], bytes: Buffer.alloc(1536) }]]))))).toMatch(/^CONES_ADAPTER_MISMATCH .*768/);
    await using closed = await load({ allowPaths: false });
    expect(await failure(closed.loadAdapter(file('kohya.safetensors')))).toMatch(/^CONES_OPTION_INVALID/);
    expect((await closed.loadAdapter(readFileSync(file('kohya.safetensors')))).kind).toBe('lora');
  });

  test("Tucker's three convolutions are the one that they make", async () => {
    const name = 'lora_unet_mid_block_resnets_0_conv1';
    const half = (shape: number[], value: (i: number) => number) => ({ dtype: 'F32', shape, bytes: Buffer.from(Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => value(i)).buffer) });
    const [a, core, up] = [(i: number) => Math.sin(i), (i: number) => Math.cos(3 * i), (i: number) => Math.sin(2 * i + 1) / 4];
    const [rank, into, taps] = [2, 32, 9];
    const whole = (i: number) => {
      const [r, k, tap] = [Math.floor(i / (into * taps)), Math.floor(i / taps) % into, i % taps];
      return a(k) * core(r * rank * taps + tap) + a(into + k) * core((r * rank + 1) * taps + tap);
    };
    const ups = half([32, rank, 1, 1], up);
    const three = await drawnWith(new Map([[`${name}.lora_down.weight`, half([rank, into, 1, 1], a)], [`${name}.lora_mid.weight`, half([rank, rank, 3, 3], core)], [`${name}.lora_up.weight`, ups]]));
    const one = await drawnWith(new Map([[`${name}.lora_down.weight`, half([rank, into, 3, 3], whole)], [`${name}.lora_up.weight`, ups]]));
    const most = Math.max(...one.map(Math.abs));
    expect(Math.max(...one.map((value, i) => Math.abs(value - three[i]!))) / most).toBeLessThan(2 ** -16);
  });
});
