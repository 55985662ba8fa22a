// Peak memory is known before a job starts: the plan equals what the job then takes, to the byte.
import type { Engine } from '../../lib';
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

test.each([false, true])('gradient, checkpointing %s', async (checkpointing) => {
  const options = { target: latents.data, wantLatents: true, wantEmbeddings: true, checkpointing };
  const tensors = model.kvTensors.map(({ name }) => name);
  expect(await measured((engine) => engine.conceptGradient(latents, [3], embeddings, options))).toBe(
    model.planGradient({ batch: BATCH, height: 8, width: 8, tokens: 77, tensors, checkpointing }),
  );
});

test('encode and decode, one picture at a time', async () => {
  const pixels = { data: noise(3, 64, 64, 3), shape: [3, 64, 64, 3] as const };
  expect(await measured((engine) => engine.encodeImage(pixels))).toBe(model.planEncode(64, 64));
  expect(await measured((engine) => engine.decode(latents))).toBe(model.planDecode(8, 8));
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

test('what does not fit is refused before it starts, and what fits is not', async () => {
  const { peak } = await load().then(async (engine) => {
    await using own = engine;
    return own.planGenerate({ count: 4 });
  });
  await using tight = await load({ memoryLimit: peak - 1 });
  expect(tight.planGenerate({ count: 4 }).fits).toBe(false);
  const steps: number[] = [];
  const drawing = tight.generate({ prompt: 'a cat', count: 4, steps: 2, onProgress: ({ step }) => void steps.push(step) });
  expect(await rejection(drawing)).toMatchObject({ code: 'CONES_OUT_OF_MEMORY' });
  expect(steps).toEqual([]);
  await tight.generate({ prompt: 'a cat', count: 4, batchSize: 2, steps: 2 });

  await using enough = await load({ memoryLimit: peak });
  await enough.generate({ prompt: 'a cat', count: 4, steps: 2 });
});

test('plans are refused for options that make no sense', async () => {
  await using engine = await load();
  expect(() => engine.planGenerate({ count: 0 })).toThrow(expect.objectContaining({ code: 'CONES_OPTION_INVALID' }));
  expect(() => engine.planGenerate({ width: 63 })).toThrow(expect.objectContaining({ code: 'CONES_OPTION_INVALID' }));
  expect(() => engine.planSearch({ layers: { self: false, cross: false } })).toThrow(expect.objectContaining({ code: 'CONES_OPTION_INVALID' }));
});
