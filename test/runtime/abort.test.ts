// Ending jobs: through a signal, by leaving a loop, by a throwing callback, by disposing the engine.
import { getEventListeners } from 'node:events';
import type { Engine, GenerateOptions } from '../../lib';
import { load, picture, rejection, searchOptions } from './model';

const MANY = 900;
const drawing: GenerateOptions = { prompt: 'a cat', steps: MANY, seed: 1 };
const ABORTED = { code: 'CONES_ABORTED', name: 'AbortError' };

let engine: Engine;
beforeAll(async () => void (engine = await load()));
afterAll(() => engine.dispose());

/** The engine still draws what it drew before. */
async function expectUsable(): Promise<void> {
  const { images } = await engine.generate({ prompt: 'a cat', steps: 2, seed: 5 });
  expect(images).toHaveLength(1);
}

/** Steps that a job has told of before and after `stop` was called in its first one. */
function stopAtFirst(stop: () => void) {
  const seen: number[] = [];
  return { seen, onProgress: ({ step }: { step: number }) => void (seen.push(step) === 1 && stop()) };
}

describe('a signal', () => {
  test('before the start: no step is taken', async () => {
    const seen: number[] = [];
    const onProgress = () => void seen.push(1);
    const signal = AbortSignal.abort();
    expect(await rejection(engine.generate({ ...drawing, signal, onProgress }))).toMatchObject(ABORTED);
    expect(await rejection(engine.findConcept(await searchOptions({ signal, onProgress })))).toMatchObject(ABORTED);
    expect(await rejection(engine.encodePrompt('a cat', { signal }))).toMatchObject(ABORTED);
    expect(seen).toEqual([]);
    await expectUsable();
  });

  test('while pictures are drawn', async () => {
    const controller = new AbortController();
    const { seen, onProgress } = stopAtFirst(() => controller.abort());
    expect(await rejection(engine.generate({ ...drawing, signal: controller.signal, onProgress }))).toMatchObject(ABORTED);
    expect(seen.length).toBeLessThan(MANY / 10); // those that were on their way
    await expectUsable();
  });

  test('while picture files are read: the next is not', async () => {
    const controller = new AbortController();
    const encoding = rejection(engine.encodeImage([await picture(1), new Uint8Array(8)], { signal: controller.signal }));
    controller.abort();
    expect(await encoding).toMatchObject(ABORTED); // and not CONES_IMAGE_INVALID
  });

  test('of a timeout', async () => {
    const error = await rejection(engine.generate({ ...drawing, count: 100, signal: AbortSignal.timeout(5) }));
    expect(error).toMatchObject({ ...ABORTED, message: 'The job timed out.' });
    expect((error.cause as Error).name).toBe('TimeoutError');
  });

  test('ends a search within one step, after a whole one', async () => {
    const controller = new AbortController();
    let stepAtAbort = -1;
    const search = await engine.startSearch(
      await searchOptions({
        steps: MANY,
        signal: controller.signal,
        onProgress: ({ phase, step }) => {
          if (phase !== 'search' || step !== 2) return;
          stepAtAbort = search.step;
          controller.abort();
        },
      }),
    );
    expect(await rejection(search.run())).toMatchObject(ABORTED);
    expect(search.step - stepAtAbort).toBeLessThanOrEqual(1);
    expect(search.step).toBeGreaterThanOrEqual(2);
    search.dispose();
    await expectUsable();
  });

  test('of many jobs has one listener, and none when they have ended', async () => {
    const { signal } = new AbortController();
    const listeners = () => getEventListeners(signal, 'abort').length;
    const jobs = Array.from({ length: 6 }, () => [engine.generate({ ...drawing, steps: 2, signal }), engine.encodePrompt('a cat', { signal })]);
    expect(listeners()).toBe(1);
    await Promise.all(jobs.flat());
    expect(listeners()).toBe(0);
  });

  test('ends only the jobs that it was given to', async () => {
    const controller = new AbortController();
    const ended = rejection(engine.generate({ ...drawing, signal: controller.signal }));
    const kept = engine.generate({ prompt: 'a cat', steps: 3, seed: 5 });
    controller.abort();
    expect(await ended).toMatchObject(ABORTED);
    expect((await kept).images).toHaveLength(1);
  });
});

describe('a callback that throws', () => {
  class Mine extends Error {}

  test('rejects generate() with its own error', async () => {
    const mine = new Mine('of the caller');
    const { seen, onProgress } = stopAtFirst(() => {
      throw mine;
    });
    expect(await rejection(engine.generate({ ...drawing, onProgress }))).toBe(mine);
    expect(seen.length).toBeLessThan(MANY / 10); // those that were on their way
    await expectUsable();
  });

  test('or rejects, if it is asynchronous, ends it with its next call', async () => {
    const mine = new Mine('of the caller');
    const seen: number[] = [];
    const onProgress = async ({ step }: { step: number }) => {
      seen.push(step);
      await Promise.resolve();
      if (step === 2) throw mine;
    };
    expect(await rejection(engine.generate({ ...drawing, onProgress: onProgress as (progress: { step: number }) => void }))).toBe(mine);
    expect(seen.length).toBeLessThan(MANY / 10);
    await expectUsable();
  });

  test('in the last step, too', async () => {
    const mine = new Mine('of the caller');
    const onProgress = ({ step, steps }: { step: number; steps: number }) => {
      if (step === steps) throw mine;
    };
    expect(await rejection(engine.generate({ ...drawing, steps: 2, onProgress }))).toBe(mine);
  });

  test.each(['encode', 'prior', 'search', 'report'])('rejects findConcept() in the phase %s', async (wanted) => {
    const mine = new Mine(wanted);
    const onProgress = ({ phase }: { phase: string }) => {
      if (phase === wanted) throw mine;
    };
    expect(await rejection(engine.findConcept(await searchOptions({ onProgress })))).toBe(mine);
    await expectUsable();
  });
});

describe('iterating over a drawing', () => {
  test('gives every step, then the result', async () => {
    const steps: number[] = [];
    const generation = engine.generate({ ...drawing, sampler: 'ddim', steps: 4, count: 3, batchSize: 2 });
    for await (const { step, steps: total } of generation) {
      steps.push(step);
      expect(total).toBe(8);
    }
    expect(steps).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect((await generation).images).toHaveLength(3);
  });

  test('in two loops at once gives every step to both', async () => {
    const generation = engine.generate({ ...drawing, sampler: 'ddim', steps: 4 });
    const count = async () => {
      const steps: number[] = [];
      for await (const { step } of generation) steps.push(step);
      return steps;
    };
    expect(await Promise.all([count(), count()])).toEqual([[1, 2, 3, 4], [1, 2, 3, 4]]);
  });

  test('ends the drawing when the loop is left', async () => {
    const generation = engine.generate(drawing);
    for await (const { step } of generation) if (step >= 2) break;
    expect(await rejection(generation)).toMatchObject(ABORTED);
    await expectUsable();
  });

  test('does so with a signal of another realm, too, which ends it as well', async () => {
    for (const stop of ['leave', 'abort']) {
      const controller = new AbortController();
      const signal = Object.create(null, {
        aborted: { get: () => controller.signal.aborted },
        reason: { get: () => controller.signal.reason as unknown },
        addEventListener: { value: controller.signal.addEventListener.bind(controller.signal) },
        removeEventListener: { value: controller.signal.removeEventListener.bind(controller.signal) },
      }) as AbortSignal;
      const generation = engine.generate({ ...drawing, signal });
      const iterate = async () => {
        for await (const { step } of generation) {
          if (step >= 2 && stop === 'leave') break;
          if (step === 2) controller.abort();
        }
      };
      await iterate().catch(() => undefined);
      expect(await rejection(generation)).toMatchObject(ABORTED);
    }
  });

  test('throws in the loop what went wrong', async () => {
    const iterate = async () => {
      for await (const { step } of engine.generate({ prompt: '' })) expect(step).toBe(0);
    };
    expect(await rejection(iterate())).toMatchObject({ code: 'CONES_PROMPT_EMPTY' });
  });
});

describe('dispose()', () => {
  test('while busy rejects what runs, what waits and what comes later', async () => {
    const own = await load();
    const signal = new AbortController().signal;
    let dispose: Promise<void> | undefined;
    const search = await own.startSearch(
      await searchOptions({ steps: 1_000_000, onProgress: ({ phase }) => void (phase === 'search' && (dispose ??= own.dispose())) }),
    );
    const jobs = [search.run(), own.generate(drawing), own.generate({ ...drawing, signal })].map(rejection);
    for (const error of await Promise.all(jobs)) expect(['CONES_DISPOSED', 'CONES_ABORTED']).toContain(error.code);
    await dispose;
    const options = await searchOptions();
    for (const job of [
      () => own.generate(drawing), () => search.run(), () => search.save(), () => own.encodePrompt('a cat'), () => own.findConcept(options),
    ]) expect(await rejection(job())).toMatchObject({ code: 'CONES_DISPOSED' });
    expect(() => own.memory()).toThrow(expect.objectContaining({ code: 'CONES_DISPOSED' }));
    expect(() => own.planGenerate()).toThrow(expect.objectContaining({ code: 'CONES_DISPOSED' }));
    expect(() => search.step).toThrow(expect.objectContaining({ code: 'CONES_DISPOSED' }));
  });

  test('may be called more than once, at once or later', async () => {
    const own = await load();
    await Promise.all([own.dispose(), own.dispose(), own[Symbol.asyncDispose]()]);
    await own.dispose();
    await expectUsable();
  });
});
