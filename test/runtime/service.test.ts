// What a service asks of an engine: fairness between callers and searches, limits, and news of what it does.
import type { Engine, GenerateProgress } from '../../lib';
import { load, rejection, searchOptions } from './model';

const many = { prompt: 'a cat', steps: 30, count: 40, seed: 1 };

test('one picture behind two calls of forty is done when they have hardly begun', async () => {
  await using engine = await load();
  const steps = [0, 0];
  const large = steps.map((_, who) => rejection(engine.generate({ ...many, onProgress: ({ step }) => void (steps[who] = step) })));
  await new Promise<void>((resolve) => {
    const look = () => (steps.every((step) => step > 0) ? resolve() : setImmediate(look));
    look();
  });
  const before = steps.reduce((a, b) => a + b);
  await engine.generate({ prompt: 'a dog', steps: 30, seed: 2 });
  // A batch of four needs four rounds for each of its steps while the third caller is there; 30 steps are 2 · 30 at the most.
  expect(steps.reduce((a, b) => a + b) - before).toBeLessThanOrEqual(75);
  await engine.dispose();
  for (const error of await Promise.all(large)) expect(error).toMatchObject({ code: 'CONES_DISPOSED' });
});

test('who has to wait is told its place, and that only while it waits', async () => {
  await using engine = await load();
  const news: GenerateProgress[][] = Array.from({ length: 11 }, () => []);
  const queued = (own: readonly GenerateProgress[]) => own.flatMap((progress) => progress.queued ?? []);
  const steps = (own: readonly GenerateProgress[]) => own.filter((progress) => progress.queued === undefined).map(({ step }) => step);
  // Eight that go on until the last of the others is in the queue, however fast they are.
  const others = new AbortController();
  const drawings = news.map((own, seed) => {
    const held = seed < 8;
    return engine.generate({
      ...{ prompt: 'a cat', sampler: 'ddim', steps: held ? 998 : 6, seed },
      ...(held ? { signal: others.signal } : {}),
      onProgress: (progress) => {
        own.push(progress);
        if (seed === 10 && progress.queued !== undefined) others.abort();
      },
    });
  });
  const ends = await Promise.all(drawings.map((drawing) => drawing.then(() => 'drawn', (error: unknown) => (error as { code: string }).code)));
  expect(ends).toEqual([...Array<string>(8).fill('CONES_ABORTED'), ...Array<string>(3).fill('drawn')]);
  const places = news.map(queued);
  expect(places.slice(0, 8)).toEqual(Array(8).fill([]));
  expect(places[10]![0]).toBe(3);
  for (const own of places.slice(8)) expect([...own].sort((a, b) => b - a)).toEqual(own);
  for (const own of news.slice(0, 8)) expect(steps(own)).toEqual(own.map((_, i) => i + 1));
  for (const own of news.slice(8)) expect(steps(own)).toEqual([1, 2, 3, 4, 5, 6]);
});

describe('an engine with limits', () => {
  let engine: Engine;
  beforeAll(async () => void (engine = await load({ maxQueue: 2, limits: { size: 64, steps: 5, count: 3 } })));
  afterAll(() => engine.dispose());

  test.each([
    ['size', { width: 128 }],
    ['steps', { steps: 6 }],
    ['count', { count: 4 }],
    ['count', { prompt: ['a', 'b'], count: 2 }],
  ])('refuses more than its %s', async (name, options) => {
    const error = await rejection(engine.generate({ prompt: 'a cat', steps: 1, width: 64, height: 64, ...options }));
    expect(error).toMatchObject({ code: 'CONES_LIMIT_EXCEEDED' });
    expect(error.message).toContain(`limits.${name}`);
  });

  test('lets in as many calls as maxQueue, and one more when one has ended', async () => {
    const draw = () => engine.generate({ prompt: 'a cat', steps: 2, width: 64, height: 64 });
    const [first, second, third] = [draw(), draw(), draw()];
    expect(engine.stats()).toMatchObject({ waiting: 2, running: 0 });
    expect(await rejection(third)).toMatchObject({ code: 'CONES_QUEUE_FULL' });
    await Promise.all([first, second]);
    expect(engine.stats()).toMatchObject({ waiting: 0, running: 0 });
    expect(engine.stats().stepsPerSecond).toBeGreaterThan(0);
    expect(engine.stats().rowsPerStep).toBeGreaterThanOrEqual(2);
    await draw();
  });
});

test('the priority of a search changes nothing in it', async () => {
  await using engine = await load();
  const found = [];
  for (const priority of ['background', 'high'] as const) {
    const search = engine.findConcept(await searchOptions({ steps: 6, priority }));
    await engine.generate({ prompt: 'a cat', steps: 6, seed: 1 });
    found.push(await search);
  }
  expect(found[0]!.equals(found[1]!)).toBe(true);
});

test('trim gives back what is kept, and the next picture is the same', async () => {
  await using engine = await load();
  const draw = async () => (await engine.generate({ prompt: 'a cat', steps: 2, seed: 1 })).images[0]!.data;
  const before = await draw();
  expect(engine.memory().cached).toBeGreaterThan(0);
  await engine.trim();
  expect(engine.memory().cached).toBe(0);
  expect(await draw()).toEqual(before);
});

test('trim frees what gradients keep once no search counts on it, and the next gradient is the same', async () => {
  await using engine = await load();
  const [C, side] = [4, 8];
  const latents = { data: new Float32Array(C * side * side).fill(0.5), shape: [1, C, side, side] } as const;
  const embeddings = await engine.encodePrompt('a cat');
  const gradient = () => engine.conceptGradient(latents, [500], embeddings, { target: new Float32Array(C * side * side) });
  const { inUse, forGradients } = engine.memory();
  expect(forGradients).toBe(0);
  const before = await gradient();
  expect(engine.memory().forGradients).toBeGreaterThan(0);
  await engine.trim();
  expect(engine.memory()).toMatchObject({ inUse, forGradients: 0, cached: 0 });
  expect(await gradient()).toEqual(before);

  const search = await engine.startSearch(await searchOptions({ report: { pictures: 0 } }));
  await search.run(1);
  const kept = engine.memory().forGradients;
  expect(kept).toBeGreaterThan(0);
  await engine.trim();
  expect(engine.memory().forGradients).toBe(kept);
  await search.run();
  search.dispose();
  await engine.trim();
  expect(engine.memory()).toMatchObject({ inUse, forGradients: 0 });
});
