// The paper's rivals: Textual Inversion, Custom Diffusion and DreamBooth, on a tiny model.
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { Engine, Trained, type TrainMethod, type TrainOptions } from '../../lib';
import { fromFloat16Bits } from '../../lib/concept-file/float16';
import { conceptOf, load, MODEL, picture, pictures, rejection } from '../runtime/model';

const METHODS = ['textual-inversion', 'custom-diffusion', 'dreambooth'] as const;

let engine: Engine;
let folder: string;
beforeAll(async () => {
  engine = await load();
  folder = await mkdtemp(path.join(os.tmpdir(), 'cones-train-'));
});
afterAll(async () => {
  await engine.dispose();
  await rm(folder, { recursive: true });
});

async function options(method: TrainMethod, changes: Partial<TrainOptions> = {}): Promise<TrainOptions> {
  return { method, images: await pictures(3), category: 'cat', token: 'q', steps: 3, batchSize: 2, learningRate: 1e-3, ...(method === 'textual-inversion' ? {} : { priorCount: 2 }), cacheDir: null, ...changes };
}

/** Name, type, shape and values of a safetensors file, read independently of the writer. */
async function readTensors(file: string, type: 'F32' | 'F16' = 'F32'): Promise<Map<string, { shape: number[]; values: number[] }>> {
  const bytes = await readFile(file);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + length)) as Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;
  const entries = Object.entries(header).filter(([name]) => name !== '__metadata__');
  return new Map(
    entries.map(([name, { dtype, shape, data_offsets: [begin, end] }]) => {
      const size = type === 'F32' ? 4 : 2;
      expect(dtype).toBe(type);
      expect(end - begin).toBe(size * shape.reduce((a, b) => a * b, 1));
      const read = (at: number) => (type === 'F32' ? bytes.readFloatLE(at) : fromFloat16Bits(bytes.readUInt16LE(at)));
      return [name, { shape, values: Array.from({ length: (end - begin) / size }, (_, i) => read(8 + length + begin + size * i)) }];
    }),
  );
}

test.each(METHODS)('%s trains what it should, tells how far it is, and is a function of the seed', async (method) => {
  const phases = new Map<string, number>();
  const losses: number[] = [];
  const trained = await engine.train(await options(method, {
    onProgress: ({ phase, step, steps, loss }) => {
      phases.set(phase, step / steps);
      if (loss !== undefined) losses.push(loss);
    },
  }));
  expect(trained).toBeInstanceOf(Trained);
  expect(trained).toMatchObject({ method, steps: 3, subjects: [{ identifier: 'V1*', token: 'q', category: 'cat' }] });
  expect(Object.fromEntries(phases)).toEqual({ encode: 1, ...(method === 'textual-inversion' ? {} : { prior: 1 }), train: 1 });
  expect(losses).toHaveLength(3);
  expect([...trained.embeddings.keys()]).toEqual(method === 'dreambooth' ? [] : ['V1*']);
  const cross = engine.kvTensors.filter(({ name }) => name.includes('.attn2.')).map(({ name }) => name);
  if (method === 'textual-inversion') expect(trained.weights.size).toBe(0);
  if (method === 'custom-diffusion') expect([...trained.weights.keys()].sort()).toEqual([...cross].sort());
  if (method === 'dreambooth') expect([...trained.weights.keys()]).toEqual(expect.arrayContaining([...cross, 'conv_in.weight', 'time_embedding.linear_1.bias', 'conv_norm_out.weight']));

  const again = await engine.train(await options(method));
  expect([...again.embeddings, ...again.weights]).toEqual([...trained.embeddings, ...trained.weights]);
  const other = await engine.train(await options(method, { seed: 1 }));
  expect([...other.embeddings, ...other.weights]).not.toEqual([...trained.embeddings, ...trained.weights]);
});

test('defaults are the paper’s', async () => {
  const digestOf = async (changes: Partial<TrainOptions>, method: TrainMethod) => {
    const training = await engine.startTraining({ method, images: await pictures(3), category: 'cat', token: 'q', priorBatchSize: 0, ...changes });
    await training.run(1);
    const state = await training.save();
    training.dispose();
    return state;
  };
  // App. B.1: batch 4, rate 0.005, scaled to 0.02; B.3: batch 4, 1e-5, scaled to 4e-5; B.2: batch 1, 5e-6. Weight decay is diffusers'.
  for (const [method, said] of [
    ['textual-inversion', { batchSize: 4, learningRate: 0.02, embeddingInit: 'category' }],
    ['custom-diffusion', { batchSize: 4, learningRate: 4e-5, embeddingInit: 'token' }],
    ['dreambooth', { batchSize: 1, learningRate: 5e-6 }],
  ] as const) {
    const given = await digestOf({ ...said, scaleLearningRate: false, optimizer: 'adamw', weightDecay: 0.01 }, method);
    expect((await digestOf({}, method)).equals(given)).toBe(true);
    expect((await digestOf({ optimizer: 'adam' }, method)).equals(given)).toBe(false);
  }
});

describe('files', () => {
  test('an embedding as diffusers’ learned_embeds.safetensors', async () => {
    const trained = await engine.train(await options('textual-inversion', { identifier: '<my-cat>' }));
    const file = path.join(folder, 'learned_embeds.safetensors');
    await trained.save(file);
    const tensors = await readTensors(file);
    const { shape, values } = trained.embeddings.get('<my-cat>')!;
    expect(shape).toEqual([1, 32]);
    expect([...tensors]).toEqual([['<my-cat>', { shape, values: [...values] }]]);
  });

  test('Custom Diffusion’s processors, one for every attention layer, and an embedding per subject', async () => {
    const subjects = [{ images: await pictures(2), category: 'cat', token: 'q' }, { images: [await picture(8)], category: 'dog', identifier: '<dog>', token: 'z' }];
    const trained = await engine.train({ method: 'custom-diffusion', subjects, steps: 2, priorCount: 1, cacheDir: null });
    expect(trained.subjects).toMatchObject([{ identifier: 'V1*', token: 'q' }, { identifier: '<dog>', token: 'z' }]);
    const target = path.join(folder, 'both');
    await trained.save(target);
    expect((await readdir(target)).sort()).toEqual(['V1.safetensors', 'dog.safetensors', 'pytorch_custom_diffusion_weights.safetensors']);
    expect([...(await readTensors(path.join(target, 'dog.safetensors'))).keys()]).toEqual(['<dog>']);
    const tensors = await readTensors(path.join(target, 'pytorch_custom_diffusion_weights.safetensors'));
    for (const [name, { shape, values }] of trained.weights) {
      expect(tensors.get(name.replace(/\.(to_[kv])\.weight$/, '.processor.$1_custom_diffusion.weight'))).toEqual({ shape, values: [...values] });
    }
    for (const { name } of engine.kvTensors.filter((tensor) => tensor.name.includes('.attn1.'))) {
      expect(tensors.get(name.replace(/\.to_[kv]\.weight$/, '.processor'))).toEqual({ shape: [0], values: [] });
    }
  });

  test('DreamBooth’s is a model of its own, and the old one is not touched', async () => {
    const before = await engine.generate({ prompt: 'a photo of a cat', seed: 3, steps: 2 });
    const { nlink: links } = await stat(path.join(MODEL, 'vae/config.json'));
    const trained = await engine.train(await options('dreambooth', { steps: 2 }));
    const after = await engine.generate({ prompt: 'a photo of a cat', seed: 3, steps: 2 });
    expect(after.images[0]!.data).toEqual(before.images[0]!.data);
    const target = path.join(folder, 'dreambooth');
    await trained.save(target);
    await using own = await Engine.load(target, { threads: 2 });
    expect(own.fingerprint).not.toBe(engine.fingerprint);
    const { images: [drawn] } = await own.generate({ prompt: 'a photo of a cat', seed: 3, steps: 2 });
    expect(drawn!.data).not.toEqual(before.images[0]!.data);
    // The engine still takes its own files for those that it has loaded.
    expect((await stat(path.join(MODEL, 'vae/config.json'))).nlink).toBe(links);
    await engine.train(await options('textual-inversion', { steps: 1 }));
    await expect(rejection(trained.save(target))).resolves.toMatchObject({ code: 'CONES_OPTION_INVALID', message: expect.stringContaining('is not empty') });
    await expect(rejection(trained.save(path.join(folder, 'no/such/folder\0')))).resolves.toMatchObject({ code: 'CONES_IO' });
    expect((await readdir(folder)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });
});

test('a concept for diffusers: all K-V weights, zero where its neurons are, and its embedding', async () => {
  const concept = conceptOf(engine, 0, 7);
  const [subject] = concept.subjects;
  const target = path.join(folder, 'concept');
  await engine.exportConcept(concept.with({ subjects: [{ ...subject!, embedding: { dtype: 'float32', values: new Float32Array(32).fill(0.5) } }] }), target);
  expect((await readTensors(path.join(target, 'V1.safetensors'))).get('V1*')).toEqual({ shape: [1, 32], values: new Array(32).fill(0.5) });
  const tensors = await readTensors(path.join(target, 'pytorch_custom_diffusion_weights.safetensors'));
  const stored = await readTensors(path.join(MODEL, 'unet/diffusion_pytorch_model.safetensors'), 'F16');
  expect(tensors.size).toBe(engine.kvTensors.length);
  for (const { name, shape } of engine.kvTensors) {
    const values = stored.get(name)!.values.map((value, i) => (i % 7 === 0 ? 0 : value));
    expect(tensors.get(name.replace(/\.(to_[kv])\.weight$/, '.processor.$1_custom_diffusion.weight'))).toEqual({ shape, values });
  }
});

describe.each(METHODS)('%s', (method) => {
  test('goes on from its state bit by bit; a state of another training is refused', async () => {
    const whole = await engine.train(await options(method));
    const states: Buffer[] = [];
    const first = await engine.startTraining(await options(method, { checkpoint: { every: 1, save: (state) => void states.push(state) } }));
    await first.run(2);
    first.dispose();
    expect(states).toHaveLength(2);
    const resumed = await engine.train(await options(method, { resume: states[0]! }));
    expect([...resumed.embeddings, ...resumed.weights]).toEqual([...whole.embeddings, ...whole.weights]);
    const refused = { code: 'CONES_STATE_INVALID' };
    await expect(rejection(engine.train(await options(method, { resume: states[0]!, seed: 4 })))).resolves.toMatchObject(refused);
    await expect(rejection(engine.train(await options(method, { resume: states[0]!.subarray(1) })))).resolves.toMatchObject(refused);
    const flipped = Buffer.from(states[0]!);
    flipped[flipped.length - 100]! ^= 1;
    await expect(rejection(engine.train(await options(method, { resume: flipped })))).resolves.toMatchObject(refused);
  });

  test('can be aborted between steps, and goes on from there', async () => {
    const abort = new AbortController();
    const steps: number[] = [];
    const training = await engine.startTraining(await options(method, {
      steps: 50,
      signal: abort.signal,
      onProgress: ({ phase, step }) => {
        if (phase !== 'train') return;
        steps.push(step);
        if (step === 2) abort.abort();
      },
    }));
    await expect(rejection(training.run())).resolves.toMatchObject({ name: 'AbortError' });
    const { step } = training;
    expect(step).toBeGreaterThanOrEqual(2);
    expect(step).toBeLessThan(50);
    await expect(training.save()).resolves.toBeInstanceOf(Buffer);
    training.dispose();
    await expect(rejection(training.save())).resolves.toMatchObject({ code: 'CONES_DISPOSED' });
  });

  test('its memory is planned', async () => {
    await using own = await load();
    const settings = { batchSize: 2, ...(method === 'textual-inversion' ? {} : { priorCount: 2 }) };
    const plan = own.planTrain({ method, ...settings, images: 3 });
    await own.train(await options(method, settings));
    const { peak } = own.memory();
    expect(peak).toBeLessThanOrEqual(plan.peak);
    expect(peak).toBeGreaterThan(0.9 * plan.peak);
  });

  test('a loss that is not finite ends it with a reason', async () => {
    await expect(rejection(engine.train(await options(method, { learningRate: 1e6, weightDecay: 1, steps: 40 })))).resolves.toMatchObject({ code: 'CONES_LOSS_NOT_FINITE' });
  });
});

describe('what does not go together is refused before anything is done', () => {
  const images = [path.join(MODEL, 'no-such-picture.png')];
  test.each<[string, Partial<TrainOptions>]>([
    ['images is missing', { images: undefined, category: 'cat' }],
    ['category is missing', { images }],
    ['images does not go with subjects', { images, subjects: [{ images, category: 'cat' }] }],
    ['two of them have the same identifier', { subjects: [{ images, category: 'cat', identifier: 'v2*' }, { images, category: 'dog' }] }],
    ["token is another subject's", { subjects: [{ images, category: 'cat', token: 'q' }, { images, category: 'dog', token: 'q' }] }],
    ['priorCaptions needs priorImages', { images, category: 'cat', priorCaptions: ['a cat'] }],
    ['priorImages is not for Textual Inversion', { images, category: 'cat', priorImages: images }],
    ['priorCount is for pictures that the model draws', { method: 'custom-diffusion', images, category: 'cat', priorImages: images, priorCount: 3 }],
    ['embeddingInit is not for DreamBooth', { method: 'dreambooth', images, category: 'cat', embeddingInit: 'token' }],
    ["weightDecay is for optimizer 'adamw'", { images, category: 'cat', optimizer: 'adam', weightDecay: 0.1 }],
    ['none has the identifier V1*', { images, category: 'cat', token: 'q', captions: ['a cat'] }],
    ['is not a single token', { images, category: 'cat', token: 'qqqqq' }],
    ['has 2 entries for 1 pictures', { images, category: 'cat', token: 'q', captions: ['V1*', 'V1*'] }],
    ['timesteps must be', { images, category: 'cat', timesteps: [5, 5] }],
  ])('%s', async (message, changes) => {
    const given = { method: 'textual-inversion', ...changes } as TrainOptions;
    await expect(rejection(engine.train(given))).resolves.toMatchObject({ code: 'CONES_OPTION_INVALID', message: expect.stringContaining(message) });
  });

  test('no pictures', async () => {
    await expect(rejection(engine.train({ method: 'textual-inversion', images: [], category: 'cat', token: 'q' }))).resolves.toMatchObject({ code: 'CONES_IMAGES_MISSING' });
  });
});

describe('merging Custom Diffusion’s weights', () => {
  const trainOne = async (identifier: string, category: string, seed: number) =>
    engine.train(await options('custom-diffusion', { identifier, category, seed, images: [await picture(seed)], learningRate: 1e-2, priorBatchSize: 0, priorCount: undefined } as Partial<TrainOptions>));

  test('each subject’s words keep what its own weights make of them', async () => {
    const [cat, dog] = [await trainOne('V1*', 'cat', 1), await trainOne('V2*', 'dog', 2)];
    const both = await engine.mergeCustomDiffusion([cat, dog]);
    expect(both.subjects).toEqual([...cat.subjects, ...dog.subjects]);
    expect([...both.embeddings.keys()]).toEqual(['V1*', 'V2*']);
    for (const [name, { values }] of both.weights) {
      expect(values.every(Number.isFinite)).toBe(true);
      expect([...values]).not.toEqual([...cat.weights.get(name)!.values]);
    }
    const target = path.join(folder, 'merged');
    await both.save(target);
    expect(existsSync(path.join(target, 'pytorch_custom_diffusion_weights.safetensors'))).toBe(true);
    // In either order it is the same.
    const turned = await engine.mergeCustomDiffusion([dog, cat]);
    for (const [name, { values }] of both.weights) turned.weights.get(name)!.values.forEach((value, i) => expect(value).toBeCloseTo(values[i]!, 4));
  });

  test('only what fits is merged', async () => {
    const cat = await trainOne('V1*', 'cat', 1);
    const inversion = await engine.train(await options('textual-inversion', { identifier: 'V2*' }));
    await expect(rejection(engine.mergeCustomDiffusion([cat, cat]))).resolves.toMatchObject({ code: 'CONES_OPTION_INVALID', message: expect.stringContaining('same identifier') });
    await expect(rejection(engine.mergeCustomDiffusion([cat, inversion]))).resolves.toMatchObject({ code: 'CONES_OPTION_INVALID' });
    await expect(rejection(engine.mergeCustomDiffusion([cat]))).resolves.toMatchObject({ code: 'CONES_OPTION_INVALID' });
  });
});
