// The native models against PyTorch: the cases of test/goldens/models (its README.md describes them).
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { readSchedulerConfig, readTextConfig, readUNetConfig, readVaeConfig } from '../../lib/models';
import { readClipConfig } from '../../lib/models/clip';
import { native } from '../../lib/native';
import { flattenSteps, samplerSchedule, type SamplerName } from '../../lib/diffusion/schedule';
import type { NativeClip, NativeMask, NativeModel } from '../../typings/native';
import { Golden, readSafetensors } from '../goldens/golden';

const models = path.join(__dirname, '../goldens/models');
const PIPELINE = path.join(models, 'pipeline');

/** A model of which `part` is the case's and the others, where the case has none, are those of `pipeline`. */
async function load(name: string, part: 'unet' | 'text_encoder' | 'vae'): Promise<NativeModel> {
  const folder = (of: string) => path.join(of === part ? path.join(models, name) : PIPELINE, of);
  const [unet, text, vae] = await Promise.all([
    readUNetConfig(folder('unet')), readTextConfig(folder('text_encoder')), readVaeConfig(folder('vae')),
  ]);
  return native().loadModel({ unet, text, vae, threads: 2, memoryLimit: 2 ** 30 });
}

/** Fails with all tensors of a case that are out of tolerance, not only the first. */
function expectAll(verdicts: ReturnType<Golden['judge']>[]): void {
  expect(verdicts.filter(({ ok }) => !ok)).toEqual([]);
}

/** [B, C, H, W] → [B, H, W, C], or back. */
function permute(data: ArrayLike<number>, [b, c, h, w]: number[], toLast: boolean): Float32Array {
  const [batch, channels, pixels] = [b!, c!, h! * w!];
  const out = new Float32Array(data.length);
  for (let n = 0; n < batch; n++) {
    for (let i = 0; i < channels; i++) {
      for (let p = 0; p < pixels; p++) {
        const first = (n * channels + i) * pixels + p;
        const last = (n * pixels + p) * channels + i;
        out[toLast ? last : first] = data[toLast ? first : last]!;
      }
    }
  }
  return out;
}

const float32 = (data: ArrayLike<number>) => Float32Array.from(data);
const float64 = (data: ArrayLike<number>) => Float64Array.from(data);
const int32 = (data: ArrayLike<number>) => Int32Array.from(data);

describe.each(['unet-sd1', 'unet-sd2', 'unet-one-level', 'unet-odd', 'unet-lists', 'unet-tiny', 'unet-no-mid'])('%s', (name) => {
  const golden = new Golden(path.join(models, name));
  const [batch, , height, width] = golden.shape('sample') as [number, number, number, number];
  const input = {
    batch, height, width,
    latents: float32(golden.data('sample')),
    timesteps: float64(golden.data('timesteps')),
    embeddings: float32(golden.data('encoder_hidden_states')),
    tokens: golden.shape('encoder_hidden_states')[1]!,
  };
  let model: NativeModel;
  beforeAll(async () => void (model = await load(name, 'unet')));
  afterAll(() => model.dispose());

  /** Weights whose gradients the golden has: K-V weights at least. */
  const weights = [...golden.tensors.keys()].filter((tensor) => /^grad\..*\.(weight|bias)$/.test(tensor)).map((tensor) => tensor.slice(5));

  const gradient = async (options: { masks?: Awaited<ReturnType<typeof masks>>; checkpointing?: boolean | 'light' } = {}) =>
    model.gradient({
      ...input, ...options,
      target: float32(golden.data('target')),
      weights: float64(golden.data('weights')),
      tensors: weights,
      wantLatents: true,
      wantEmbeddings: true,
    });

  const masks = () => Promise.all(Array.from({ length: batch }, (_, row) =>
    model.createMask(model.kvTensors.map(({ name: tensor }) => Uint32Array.from(golden.data(`mask.${row}.${tensor}`))))));

  test('names every K-V weight, with its shape', () => {
    const gradients = [...golden.tensors].filter(([tensor]) => /^grad\..*\.to_[kv]\.weight$/.test(tensor));
    const wanted = gradients.map(([tensor, { shape }]) => ({ name: tensor.slice(5), shape }));
    const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);
    expect([...model.kvTensors].map(({ name: n, shape }) => ({ name: n, shape: [...shape] })).sort(byName))
      .toEqual(wanted.sort(byName));
  });

  test('output', async () => expectAll([golden.judge('out', await model.denoise(input))]));

  test.each([false, 'light', true] as const)('loss and gradients, checkpointing %s', async (checkpointing) => {
    const { loss, latents, embeddings, gradients } = await gradient({ checkpointing });
    expectAll([
      golden.judge('loss', [loss]),
      golden.judge('grad.sample', latents!),
      golden.judge('grad.encoder_hidden_states', embeddings!),
      ...weights.map((tensor, i) => golden.judge(`grad.${tensor}`, gradients[i]!)),
    ]);
  });

  test('the same gradients from the one at the output', async () => {
    const [out, target, rows] = [golden.data('out'), golden.data('target'), golden.data('weights')];
    const size = out.length / batch;
    const { output, latents, embeddings, gradients } = await model.gradient({
      ...input,
      // The goldens' loss is a weighted mean of squares.
      upstream: Float32Array.from(out, (value, i) => (2 * rows[Math.floor(i / size)]! * (value - target[i]!)) / size),
      tensors: weights,
      wantLatents: true,
      wantEmbeddings: true,
    });
    expectAll([
      golden.judge('out', output!),
      golden.judge('grad.sample', latents!),
      golden.judge('grad.encoder_hidden_states', embeddings!),
      ...weights.map((tensor, i) => golden.judge(`grad.${tensor}`, gradients[i]!)),
    ]);
  });

  test('each row under its own mask', async () => {
    const rows = await masks();
    const { loss, latents, embeddings } = await gradient({ masks: rows });
    expectAll([
      golden.judge('masked.out', await model.denoise({ ...input, masks: rows })),
      golden.judge('masked.loss', [loss]),
      golden.judge('masked.grad.sample', latents!),
      golden.judge('masked.grad.encoder_hidden_states', embeddings!),
    ]);
  });
});

test.each(['unet-lists', 'unet-tiny'])('%s has the gradient of every weight', (name) => {
  const stored = readSafetensors(path.join(models, name, 'unet', 'diffusion_pytorch_model.safetensors'));
  const { tensors } = new Golden(path.join(models, name));
  for (const [weight, { shape }] of stored) expect(tensors.get(`grad.${weight}`)?.shape).toEqual(shape);
});

describe.each(['clip-sd1', 'clip-sd2'])('%s', (name) => {
  const golden = new Golden(path.join(models, name));
  const [rows, tokens, hidden] = golden.shape('last_hidden_state') as [number, number, number];
  const ids = int32(golden.data('input_ids'));
  let model: NativeModel;
  beforeAll(async () => void (model = await load(name, 'text_encoder')));
  afterAll(() => model.dispose());

  test('hidden states', async () => expectAll([golden.judge('last_hidden_state', await model.encodeText(ids, rows, {}))]));

  test('gradient of token embeddings', async () => {
    // The goldens' loss is a weighted mean of squares, so its gradient at the hidden states is known.
    const [out, target, weights] = [golden.data('last_hidden_state'), golden.data('target'), golden.data('weights')];
    const size = tokens * hidden;
    const upstream = Float32Array.from(out, (value, i) =>
      (2 * weights[Math.floor(i / size)]! * (value - target[i]!)) / size);
    const gradient = await model.tokenGradient({ ids, rows, tokens: int32(golden.data('token_ids')), upstream });
    expectAll([golden.judge('grad.token_embedding', gradient)]);
  });
});

describe.each(['clip-model-highest-id', 'clip-model-first-eos'])('%s', (name) => {
  const golden = new Golden(path.join(models, name));
  let clip: NativeClip;
  beforeAll(async () => {
    const { text, vision, projectionSize, eosTokenId, files } = await readClipConfig(path.join(models, name));
    clip = await native().loadClip({ text, vision, projectionSize, eosTokenId, files, threads: 1, memoryLimit: 2 ** 30 });
  });
  afterAll(() => clip.dispose());

  test('embeddings of texts and pictures', async () => {
    const pixels = golden.shape('pixel_values') as [number, number, number, number];
    expectAll([
      golden.judge('text_embeds', await clip.embedTexts(int32(golden.data('input_ids')), { batch: golden.shape('input_ids')[0]! })),
      golden.judge('image_embeds', await clip.embedImages(permute(golden.data('pixel_values'), pixels, true), { batch: pixels[0] })),
    ]);
  });
});

describe.each(['vae-sd1', 'vae-small', 'vae-no-attention'])('%s', (name) => {
  const golden = new Golden(path.join(models, name));
  let model: NativeModel;
  beforeAll(async () => void (model = await load(name, 'vae')));
  afterAll(() => model.dispose());

  test('encode', async () => {
    const shape = golden.shape('image') as [number, number, number, number];
    const pixels = permute(golden.data('image'), shape, true);
    expectAll([golden.judge('moments', await model.encodeImages(pixels, shape[0], shape[2], shape[3], {}))]);
  });

  test('decode', async () => {
    const [batch, , height, width] = golden.shape('latents') as [number, number, number, number];
    const picture = await model.decode(float32(golden.data('latents')), batch, height, width, {});
    expectAll([golden.judge('decoded', permute(picture, golden.shape('decoded'), false))]);
  });
});

describe('pipeline', () => {
  interface Run { sampler: SamplerName; steps: number; record: number[]; predictionType: 'epsilon' | 'v_prediction'; guidance: number }
  const golden = new Golden(PIPELINE);
  const about = JSON.parse(readFileSync(path.join(PIPELINE, 'golden.json'), 'utf8')) as {
    runs: Record<string, Run>; decoded: string;
  };
  const [batch, , height, width] = golden.shape('noise') as [number, number, number, number];
  let model: NativeModel;
  beforeAll(async () => void (model = await load('pipeline', 'unet')));
  afterAll(() => model.dispose());

  /** Latents after the first `taken` steps of a run. */
  async function sample({ sampler, steps, predictionType, guidance }: Run, taken = steps): Promise<Float32Array> {
    const scheduler = await readSchedulerConfig(path.join(PIPELINE, 'scheduler'));
    const schedule = samplerSchedule(sampler, { ...scheduler, predictionType }, { steps });
    const prompts = int32([...golden.data('prompt_ids'), ...golden.data('negative_ids')]);
    const states = await model.encodeText(prompts, 2, {});
    return model.sample({
      batch, height, width, guidance,
      latents: float32(golden.data('noise')).map((x) => x * schedule.initialNoiseScale),
      embeddings: states.slice(0, states.length / 2),
      negativeEmbeddings: states.slice(states.length / 2),
      tokens: golden.shape('prompt_ids')[1]!,
      steps: flattenSteps(schedule.steps.slice(0, taken)),
      seeds: new BigUint64Array(batch),
    });
  }

  test.each(Object.entries(about.runs))('%s: latents', async (name, run) => {
    for (const taken of run.record) expectAll([golden.judge(`${name}.latents.${taken}`, await sample(run, taken))]);
  });

  test('picture', async () => {
    const latents = await sample(about.runs[about.decoded]!);
    const { scalingFactor } = await readVaeConfig(path.join(PIPELINE, 'vae'));
    const picture = await model.decode(latents.map((x) => x / scalingFactor), batch, height, width, {});
    expectAll([golden.judge('decoded', permute(picture, golden.shape('decoded'), false))]);
  });
});

describe('search', () => {
  const golden = new Golden(path.join(models, 'search'));
  const [steps, batch, channels, height, width] = golden.shape('noisy') as [number, number, number, number, number];
  const [, tokens, hidden] = golden.shape('encoder_hidden_states') as [number, number, number];
  const { runs } = JSON.parse(readFileSync(path.join(models, 'search/golden.json'), 'utf8')) as {
    runs: Record<string, { algorithm: string; optimizer: 'adam' | 'sgd'; learning_rate: number; clamp: boolean; shut?: number; ramp?: number }>;
  };
  let model: NativeModel;
  beforeAll(async () => void (model = await load('search', 'unet')));
  afterAll(() => model.dispose());

  /** Pictures and captions of its own are never used: every batch is given. */
  const createSearch = (run: (typeof runs)[string]) =>
    model.createSearch({
      batch: 1, height, width, subjects: 1, moments: new Float32Array(2 * channels * height * width),
      embeddings: new Float32Array(tokens * hidden), tokens, captions: int32([0]), captionOffsets: int32([0, 1]),
      latentScale: 1, subjectBatch: batch, priorBatch: 0, priorWeight: 1,
      alphasCumprod: float64([1]), prediction: 'epsilon', minTimestep: 0, maxTimestep: 1,
      algorithm: run.algorithm === 'a2' ? 'a2' : '1', optimizer: run.optimizer, learningRate: run.learning_rate,
      beta1: 0.9, beta2: 0.999, epsilon: 1e-8, clamp: run.clamp, shut: run.shut ?? 0, ramp: run.ramp ?? 0, checkpointing: false, seed: 0n,
      tensors: Int32Array.from(model.kvTensors.keys()),
    });
  const step = (name: string, k: number) => {
    const data = float32(golden.data(name));
    return data.subarray((k * data.length) / steps, ((k + 1) * data.length) / steps);
  };
  const batchOf = (k: number) => ({
    batch, height, width, tokens,
    latents: step('noisy', k).slice(),
    target: step('noise', k).slice(),
    timesteps: float64(golden.data('timesteps')).slice(k * batch, (k + 1) * batch),
    weights: float64([0.5, 0.5, 0.5, 0.5]), // means over 2 subject rows and, with λ = 1, over 2 prior rows
    embeddings: float32(golden.data('encoder_hidden_states')),
  });

  test.each(Object.entries(runs))('%s, batch by batch', async (name, run) => {
    const search = await createSearch(run);
    const losses: number[] = [];
    for (let k = 0; k < steps; k++) losses.push((await search.update(batchOf(k))).loss);
    expect(search.step).toBe(steps);
    const [scores, displacements] = [await search.ranking('score'), await search.ranking('displacement')];
    search.dispose();
    expectAll([
      golden.judge(`${name}.losses`, losses),
      ...model.kvTensors.map(({ name: tensor }, i) => golden.judge(`${name}.score.${tensor}`, scores[i]!)),
      // See the README on Adam's displacements, of which the largest error is a matter of luck.
      ...(run.optimizer === 'adam' ? [] : model.kvTensors.map(({ name: tensor }, i) => golden.judge(`${name}.displacement.${tensor}`, displacements[i]!))),
    ]);
  });

  test("straight-through: a step's loss is that of the neurons that are chosen before it", async () => {
    const run = runs['a2.sgd.straight-through']!;
    const search = await createSearch({ ...run, ramp: 0 });
    for (const k of [0, 1]) await search.update(batchOf(k));
    const { indices } = await search.selectCount('displacement', run.shut!);
    const { loss } = await search.update(batchOf(2));
    search.dispose();
    const mask = await model.createMask(indices);
    const lossWith = async (masks: (NativeMask | null)[]) => (await model.gradient({ ...batchOf(2), masks, tensors: [] })).loss;
    const [shut, untouched] = [await lossWith(Array.from({ length: batch }, () => mask)), await lossWith(Array.from({ length: batch }, () => null))];
    expect(Math.abs(loss / shut - 1)).toBeLessThan(1e-6);
    expect(Math.abs(loss / untouched - 1)).toBeGreaterThan(1e-3);
  });

  test('an update with masks is refused', async () => {
    const search = await createSearch(runs['a2.adam']!);
    const mask = await model.createMask(model.kvTensors.map(() => new Uint32Array()));
    const masked = { ...batchOf(0), masks: Array.from({ length: batch }, () => mask) };
    await expect(async () => search.update(masked)).rejects.toMatchObject({ code: 'CONES_OPTION_INVALID' });
    expect(search.step).toBe(0);
    search.dispose();
  });
});
