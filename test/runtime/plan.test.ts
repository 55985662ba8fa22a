// Peak memory is known before a job starts: the plan equals what the job then takes, to the byte.
import type { Engine, GenerateOptions } from '../../lib';
import type { GeneratePlanOptions } from '../../lib/engine/plan';
import { native } from '../../lib/native';
import type { NativeModel } from '../../typings/native';
import { load, loadNative, rejection, searchOptions } from './model';

const BATCH = 2;
const noise = (...shape: number[]) => native().randomNormal(1n, 0, shape.reduce((a, b) => a * b));
const latents = { data: noise(BATCH, 4, 8, 8), shape: [BATCH, 4, 8, 8] as const };
const embeddings = { data: noise(BATCH, 77, 32), shape: [BATCH, 77, 32] as const };

/** Bytes above the weights that one job takes on an engine of its own. */
async function measured(job: (engine: Engine) => PromiseLike<unknown>): Promise<number> {
  await using engine = await load();
  await job(engine);
  const { peak, weights } = engine.memory();
  return peak - weights;
}

let model: NativeModel;
beforeAll(async () => void (model = await loadNative()));
afterAll(() => model.dispose());

test('denoise', async () => {
  expect(await measured((engine) => engine.denoise(latents, [3], embeddings))).toBe(model.planDenoise(BATCH, 8, 8, 77));
});

test.each([false, 'light', true] as const)('gradient, checkpointing %s', async (checkpointing) => {
  const options = { target: latents.data, wantLatents: true, wantEmbeddings: true, checkpointing };
  const tensors = model.kvTensors.map(({ name }) => name);
  expect(await measured((engine) => engine.conceptGradient(latents, [3], embeddings, options))).toBe(
    model.planGradient({ batch: BATCH, height: 8, width: 8, tokens: 77, tensors, checkpointing }),
  );
});

const pixels = { data: noise(3, 64, 64, 3), shape: [3, 64, 64, 3] as const };

test('encode and decode, small pictures together', async () => {
  expect(await measured((engine) => engine.encodeImage(pixels))).toBe(model.planEncode(3, 64, 64));
  expect(await measured((engine) => engine.decode(latents))).toBe(model.planDecode(BATCH, 8, 8));
  expect(model.planDecode(BATCH, 8, 8)).toBeGreaterThan(model.planDecode(1, 8, 8));
  expect(model.planEncode(3, 64, 64)).toBeGreaterThan(model.planEncode(1, 64, 64));
});

test('large pictures are encoded and decoded one by one', () => {
  expect(model.planDecode(4, 32, 32)).toBe(model.planDecode(1, 32, 32));
  expect(model.planEncode(4, 256, 256)).toBe(model.planEncode(1, 256, 256));
});

test('fewer pictures go together where memory is short, and come out the same', async () => {
  const { weights } = model.memory(); // part of the limit
  await using encoder = await load({ memoryLimit: weights + model.planEncode(1, 64, 64) });
  await using decoder = await load({ memoryLimit: weights + model.planDecode(1, 8, 8) });
  await using ample = await load();
  expect((await encoder.encodeImage(pixels)).data).toEqual((await ample.encodeImage(pixels)).data);
  expect(await decoder.decode(latents)).toEqual(await ample.decode(latents));
  expect(encoder.memory().peak).toBe(encoder.memory().limit);
  expect(decoder.memory().peak).toBe(decoder.memory().limit);
});

test.each([{ guidance: 1 }, { guidance: 7.5 }])('generate, %p', async ({ guidance }) => {
  await using engine = await load();
  const options = { count: 3, batchSize: 2, guidance };
  const plan = engine.planGenerate(options);
  await engine.generate({ prompt: 'a cat', steps: 3, seed: 1, ...options });
  expect(engine.memory().peak).toBe(plan.peak);
  expect(plan.fits).toBe(true);
});

test.each([
  { optimizer: 'adam', batchSize: 4, priorBatchSize: 4, checkpointing: false },
  { optimizer: 'adam', batchSize: 4, priorBatchSize: 4, checkpointing: 'light' },
  { optimizer: 'adam', batchSize: 4, priorBatchSize: 4, checkpointing: true },
  { optimizer: 'sgd', batchSize: 3, priorBatchSize: 0, checkpointing: false },
  { optimizer: 'adam', batchSize: 4, priorBatchSize: 4, checkpointing: false, learnEmbedding: true },
] as const)('findConcept, %p', async (options) => {
  await using engine = await load();
  const plan = engine.planSearch({ ...options, images: 3, ...(options.priorBatchSize > 0 ? { priorCount: 2 } : {}) });
  const { report, ...others } = await searchOptions({ ...options, steps: 3 });
  await engine.findConcept({ ...others, report: { ...report, rows: 8, pictures: 2, steps: 2 } });
  const { peak } = engine.memory();
  // A whole search is a row of jobs: its plan is a bound, which only steps themselves reach.
  expect(peak).toBeLessThanOrEqual(plan.peak);
  expect(peak).toBeGreaterThan(0.9 * plan.peak);
});

test('findConcept recomputes activations where memory asks for it, and its plan says so', async () => {
  const options = { batchSize: 8, priorBatchSize: 8, priorCount: 2, images: 3 };
  await using ample = await load();
  const kept = ample.planSearch(options);
  expect(kept).toEqual(ample.planSearch({ ...options, checkpointing: false }));
  const light = ample.planSearch({ ...options, checkpointing: 'light' }), layers = ample.planSearch({ ...options, checkpointing: true });
  expect(light.peak).toBeLessThan(kept.peak);
  expect(layers.peak).toBeLessThan(light.peak);
  await using less = await load({ memoryLimit: (kept.peak + light.peak) / 2 });
  expect(less.planSearch(options)).toMatchObject({ fits: true, peak: light.peak });
  await using tight = await load({ memoryLimit: (light.peak + layers.peak) / 2 });
  expect(tight.planSearch({ ...options, checkpointing: 'light' }).fits).toBe(false);
  const plan = tight.planSearch(options);
  expect(plan).toMatchObject({ fits: true, peak: layers.peak });
  await tight.findConcept(await searchOptions({ batchSize: 8, priorBatchSize: 8, steps: 2 }));
  expect(tight.memory().peak).toBeLessThanOrEqual(plan.peak);
});

test('findConcept, prior pictures given', async () => {
  await using engine = await load();
  const { report, images, ...others } = await searchOptions({ batchSize: 1, steps: 2, priorCount: undefined });
  // More than would be drawn.
  const priorImages = Array.from({ length: 24 }, () => images[0]!);
  const plan = engine.planSearch({ batchSize: 1, images: images.length, priorImages: priorImages.length, learnEmbedding: false });
  expect(plan.peak).toBeGreaterThan(engine.planSearch({ batchSize: 1, images: images.length, priorCount: 2, learnEmbedding: false }).peak);
  await engine.findConcept({ ...others, images, priorImages, learnEmbedding: false, report: { ...report, rows: 8, pictures: 2, steps: 2 } });
  const { peak } = engine.memory();
  expect(peak).toBeLessThanOrEqual(plan.peak);
  expect(peak).toBeGreaterThan(0.9 * plan.peak);
});

/** An engine's limit that just holds this drawing. */
async function limitFor(options: GeneratePlanOptions): Promise<number> {
  await using engine = await load();
  return engine.planGenerate(options).peak;
}

/** Draws and counts the solver's steps. */
async function draw(engine: Engine, options: Partial<GenerateOptions> = {}) {
  const steps: number[] = [];
  const drawing = engine.generate({ prompt: 'a cat', count: 4, seed: 1, sampler: 'ddim', steps: 2, onProgress: ({ steps: all }) => void steps.push(all), ...options });
  const { images } = await drawing.catch(() => ({ images: [] }));
  return { pictures: images.map(({ data }) => [...data]), steps, error: drawing };
}

test('as many pictures are drawn together as fit', async () => {
  await using enough = await load({ memoryLimit: await limitFor({ count: 4 }) });
  await using tight = await load({ memoryLimit: await limitFor({ count: 3 }) });
  const [together, apart] = [await draw(enough), await draw(tight)];
  expect(together.steps).toEqual([2, 2]);
  expect(apart.steps).toEqual([4, 4, 4, 4]);
  expect(apart.pictures).toEqual(together.pictures);
  expect(apart.pictures).toHaveLength(4);
  expect(tight.memory().peak).toBe(tight.planGenerate({ count: 4 }).peak);
});

test.each([
  ['sampling', { guidance: 7.5 }],
  ['decoding', { guidance: 1 }],
])('a picture that does not fit is refused before its first step, because of its %s', async (_, { guidance }) => {
  const limit = await limitFor({ guidance });
  await using tight = await load({ memoryLimit: limit - 1 });
  expect(tight.planGenerate({ guidance }).fits).toBe(false);
  const { steps, error } = await draw(tight, { guidance });
  expect(await rejection(error)).toMatchObject({ code: 'CONES_OUT_OF_MEMORY' });
  expect(steps).toEqual([]);

  await using enough = await load({ memoryLimit: limit });
  expect((await draw(enough, { guidance })).pictures).toHaveLength(4);
});

test('what another drawing holds meanwhile does not count', async () => {
  await using engine = await load({ memoryLimit: await limitFor({ count: 4 }) });
  let second: ReturnType<typeof draw> | undefined;
  await draw(engine, { onProgress: () => void (second ??= draw(engine)) });
  expect((await second)?.steps).toEqual([2, 2]);
});

test('plans are refused for options that make no sense', async () => {
  await using engine = await load();
  expect(() => engine.planGenerate({ count: 0 })).toThrow(expect.objectContaining({ code: 'CONES_OPTION_INVALID' }));
  expect(() => engine.planGenerate({ width: 63 })).toThrow(expect.objectContaining({ code: 'CONES_OPTION_INVALID' }));
  expect(() => engine.planSearch({ layers: { self: false, cross: false } })).toThrow(expect.objectContaining({ code: 'CONES_OPTION_INVALID' }));
});
