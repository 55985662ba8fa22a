// Many calls on one engine at once: drawings take their steps together, a search lets them in between its own, and nobody's result
// depends on it.
import type { Engine, GenerateOptions } from '../../lib';
import { conceptOf, load, rejection, searchOptions } from './model';

const pixels = async (engine: Engine, options: GenerateOptions) =>
  (await engine.generate(options)).images.map(({ data }) => Buffer.from(data).toString('base64'));

let engine: Engine;
beforeAll(async () => void (engine = await load()));
afterAll(() => engine.dispose());

test('whatever is drawn at the same time, each call draws what it draws alone', async () => {
  const [first, second] = [conceptOf(engine, 0), conceptOf(engine, 1, 5, 'V2*', 'z')];
  const calls: GenerateOptions[] = [
    { prompt: 'a cat', steps: 9, seed: 1 },
    { prompt: 'a V1* cat', steps: 5, seed: 2, concepts: [first], guidance: 3 },
    { prompt: 'a V2* dog', steps: 7, seed: 3, concepts: [second], guidance: 1 },
    { prompt: ['a V1* cat and a V2* dog', 'the sea'], steps: 4, seed: 4, concepts: [first, second], sampler: 'euler' },
    { prompt: 'the sea', steps: 6, seed: 5, sampler: 'ddim', eta: 1, count: 2 },
    { prompt: 'a house', steps: 3, seed: 6, width: 128, height: 64, negativePrompt: 'a cat' },
    { prompt: 'a house', steps: 8, seed: 7, width: 128, height: 64 },
    { prompt: 'a tree', steps: 1, seed: 8 },
  ];
  const together = await Promise.all(calls.map((options) => pixels(engine, options)));
  for (const [i, options] of calls.entries()) expect(together[i]).toEqual(await pixels(engine, options));
});

test('drawings take their steps in turn, in one UNet call', async () => {
  await using fresh = await load();
  const { weights } = fresh.memory();
  const order: number[] = [];
  const draw = (who: number) => fresh.generate({ prompt: 'a cat', steps: 12, seed: who, onProgress: () => void order.push(who) });
  await draw(0);
  const alone = fresh.memory().peak - weights;
  order.length = 0;
  await Promise.all([draw(1), draw(2)]);
  // Whoever came first may be ahead by the steps of which the other had not encoded its prompt.
  expect(order.indexOf(2)).toBeLessThan(order.lastIndexOf(1));
  const both = order.slice(order.indexOf(2), order.lastIndexOf(1));
  both.forEach((who, i) => i > 0 && expect(who).not.toBe(both[i - 1]));
  // Two latents in memory would be nothing beside the UNet's activations for twice as many rows.
  expect(fresh.memory().peak - weights).toBeGreaterThan(1.5 * alone);
});

test('more than go together wait in line', async () => {
  const done: number[] = [];
  const calls = Array.from({ length: 24 }, (_, i) => pixels(engine, { prompt: 'a cat', steps: 3, seed: i }).then((data) => (done.push(i), data)));
  expect(new Set((await Promise.all(calls)).flat()).size).toBe(24);
  expect(done.indexOf(0)).toBeLessThan(done.indexOf(23));
});

test('one that is aborted does not touch the others', async () => {
  const wanted = await pixels(engine, { prompt: 'a cat', steps: 20, seed: 1 });
  const controller = new AbortController();
  const kept = pixels(engine, { prompt: 'a cat', steps: 20, seed: 1 });
  const dropped = rejection(engine.generate({ prompt: 'a dog', steps: 20, seed: 2, signal: controller.signal, onProgress: ({ step }) => step === 3 && controller.abort() }));
  expect(await dropped).toMatchObject({ code: 'CONES_ABORTED' });
  expect(await kept).toEqual(wanted);
});

test('a callback that throws ends its own drawing only', async () => {
  const wanted = await pixels(engine, { prompt: 'a cat', steps: 12, seed: 1 });
  const kept = pixels(engine, { prompt: 'a cat', steps: 12, seed: 1 });
  const broken = engine.generate({ prompt: 'a dog', steps: 12, seed: 2, onProgress: () => { throw new Error('mine'); } });
  expect((await rejection(broken)).message).toBe('mine');
  expect(await kept).toEqual(wanted);
});

test('a drawing does not wait for a search to end, and changes nothing in it', async () => {
  const options = await searchOptions({ steps: 40 });
  const alone = await engine.findConcept(options);
  const search = await engine.startSearch(options);
  const running = search.run();
  const picture = await pixels(engine, { prompt: 'a cat', steps: 4, seed: 1 });
  expect(search.step).toBeLessThan(40);
  await running;
  expect(picture).toEqual(await pixels(engine, { prompt: 'a cat', steps: 4, seed: 1 }));
  expect((await search.finish()).equals(alone)).toBe(true);
  search.dispose();
});

test('what one search is asked for happens in that order', async () => {
  const options = await searchOptions({ steps: 12 });
  const search = await engine.startSearch(options);
  const running = search.run();
  const state = await search.save(); // not before the twelfth step
  await running;
  const resumed = await engine.startSearch({ ...options, resume: state });
  expect(resumed.step).toBe(12);
  search.dispose();
  resumed.dispose();
});

test('where memory does not hold two drawings, the second begins when the first has ended', async () => {
  const options = { prompt: 'a cat', steps: 6 };
  await using fresh = await load();
  const { peak } = fresh.planGenerate();
  await using tight = await load({ memoryLimit: peak });
  const order: number[] = [];
  const draw = (who: number) => tight.generate({ ...options, seed: who, onProgress: ({ queued }) => void (queued ?? order.push(who)) });
  const results = await Promise.all([draw(1), draw(2), draw(3)]);
  expect(results.map(({ images }) => images.length)).toEqual([1, 1, 1]);
  expect(order).toEqual([...order].sort());
  expect(tight.memory().peak).toBeLessThanOrEqual(peak);
});

test('nor is one refused that comes while another holds what it needs', async () => {
  await using fresh = await load();
  await using tight = await load({ memoryLimit: fresh.planGenerate().peak });
  const wanted = await pixels(tight, { prompt: 'a dog', steps: 2, seed: 2 });
  let second: Promise<string[]> | undefined;
  await pixels(tight, { prompt: 'a cat', steps: 40, seed: 1, onProgress: () => void (second ??= pixels(tight, { prompt: 'a dog', steps: 2, seed: 2 })) });
  expect(await second).toEqual(wanted);
});

test('a drawing that does not fit beside a search waits for its end', async () => {
  const sizes = { batchSize: 4, learnEmbedding: false, checkpointing: true, priorCount: 2 };
  await using fresh = await load();
  await using tight = await load({ memoryLimit: fresh.planSearch({ ...sizes, images: 3 }).peak });
  const search = await tight.startSearch(await searchOptions({ ...sizes, steps: 8 }));
  const order: string[] = [];
  const running = search.run().then(() => order.push('search'));
  const drawing = tight.generate({ prompt: 'a cat', count: 8, batchSize: 8, steps: 2, seed: 1 }).then(({ images }) => (order.push('drawing'), images));
  await running;
  expect(await drawing).toHaveLength(8);
  expect(order).toEqual(['search', 'drawing']);
  expect(tight.memory().peak).toBeLessThanOrEqual(tight.memory().limit);
});
