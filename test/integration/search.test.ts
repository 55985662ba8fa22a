// The concept search through the public API: what every option does, and that it resumes bit by bit.
import { createHash } from 'node:crypto';
import type { Concept, ConceptSearch, Engine, FindConceptOptions } from '../../lib';
import { LossHistory } from '../../lib/methods/shared/loss-history';
import { load, picture, pictures, rejection, searchOptions } from '../runtime/model';

let engine: Engine;
beforeAll(async () => void (engine = await load()));
afterAll(() => engine.dispose());

const start = async (changes: Partial<FindConceptOptions> = {}) => engine.startSearch(await searchOptions(changes));

/** Digests of both rankings: equal when every bit is. */
async function rankings(search: ConceptSearch): Promise<Record<string, string>> {
  const entries: [string, string][] = [];
  for (const by of ['displacement', 'score'] as const) {
    for (const [name, values] of await search.ranking(by)) entries.push([`${by} ${name}`, createHash('sha256').update(Buffer.from(values.buffer)).digest('hex')]);
  }
  return Object.fromEntries(entries);
}

async function rankingsOf(changes: Partial<FindConceptOptions> = {}): Promise<Record<string, string>> {
  const search = await start(changes);
  await search.run();
  const values = await rankings(search);
  search.dispose();
  return values;
}

describe('a search is a function of its options', () => {
  test('the same again, on any number of threads', async () => {
    const once = await rankingsOf();
    expect(await rankingsOf()).toEqual(once);
    await using two = await load({ threads: 2 });
    const search = await two.startSearch(await searchOptions());
    await search.run();
    expect(await rankings(search)).toEqual(once);
  });

  test.each<[string, Partial<FindConceptOptions>]>([
    ['images', { images: [Buffer.alloc(0)] }],
    ['category', { category: 'dog' }],
    ['token', { token: 'z' }],
    ['captions', { captions: ['a V1* cat', 'the V1* cat', ['a V1* cat', 'V1*']] }],
    ['priorCount', { priorCount: 1 }],
    ['priorGuidance', { priorGuidance: 2 }],
    ['algorithm', { algorithm: '1' }],
    ['optimizer', { optimizer: 'sgd' }],
    ['straightThrough', { straightThrough: false }],
    ['density', { density: 0.2 }],
    ['learningRate', { learningRate: 1e-4 }],
    ['scaleLearningRate', { scaleLearningRate: true }],
    ['batchSize', { batchSize: 1 }],
    ['priorBatchSize', { priorBatchSize: 1 }],
    ['priorWeight', { priorWeight: 0.5 }],
    ['no prior', { priorWeight: 0 }],
    ['timesteps', { timesteps: [0, 500] }],
    ['seed', { seed: 1 }],
    ['steps', { steps: 4 }],
    ['learnEmbedding', { learnEmbedding: false }],
  ])('the option %s has an effect', async (name, changes) => {
    const images = name === 'images' ? { images: await Promise.all([7, 8, 9].map((seed) => picture(seed))) } : {};
    expect(await rankingsOf({ ...changes, ...images })).not.toEqual(await rankingsOf());
  });

  test('priorImages and their captions have an effect', async () => {
    const { priorCount, ...options } = await searchOptions();
    expect(priorCount).toBe(2);
    const run = async (changes: Partial<FindConceptOptions>) => {
      const search = await engine.startSearch({ ...options, ...changes });
      await search.run();
      return rankings(search);
    };
    const images = await pictures(2);
    const others = await Promise.all([picture(21), picture(22)]);
    const [a, b, c] = [await run({ priorImages: images }), await run({ priorImages: others }), await run({ priorImages: images, priorCaptions: ['a', 'b'] })];
    expect(a).not.toEqual(b);
    expect(a).not.toEqual(c);
  });

  test('checkpointing saves memory; the loss is the same', async () => {
    const run = async (checkpointing: boolean) => {
      await using own = await load();
      let loss: number | undefined;
      const search = await own.startSearch(await searchOptions({ checkpointing, batchSize: 8, onProgress: (progress) => void (loss ??= progress.loss) }));
      await search.run(2);
      return { loss, peak: own.memory().peak };
    };
    const [whole, again] = [await run(false), await run(true)];
    expect(again.loss).toBe(whole.loss);
    expect(again.peak).toBeLessThan(whole.peak);
  });

  test('clamping keeps ξ within [0, 1]', async () => {
    const range = async (clamp: boolean) => {
      const search = await start({ clamp, learningRate: 0.9, steps: 4 });
      await search.run();
      const values = [...(await search.ranking('displacement')).values()].flatMap((list) => [...list]);
      search.dispose();
      return [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))] as const;
    };
    const [low, high] = await range(false);
    expect(low).toBeLessThan(0);
    expect(high).toBeGreaterThan(1);
    expect(await range(true)).toEqual([0, 1]);
  });

  test.each<[NonNullable<FindConceptOptions['layers']>, RegExp]>([
    [{ self: false }, /attn2\.to_[kv]/],
    [{ cross: false }, /attn1\.to_[kv]/],
    [{ keys: false }, /to_v/],
    [{ values: false, self: false }, /attn2\.to_k/],
  ])('layers %j', async (layers, wanted) => {
    const search = await start({ layers, steps: 1 });
    await search.run();
    const names = [...(await search.ranking()).keys()];
    expect(names).toEqual(engine.kvTensors.map(({ name }) => name).filter((name) => wanted.test(name)));
    const concept = await search.select({ density: 0.01 });
    expect([...concept.tensors.keys()]).toEqual(names);
    search.dispose();
  });
});

describe('a learned identifier', () => {
  const learning = { learnEmbedding: true, embeddingRate: 0.01 } as const;
  const embeddingOf = async (changes: Partial<FindConceptOptions>) => {
    const search = await start({ ...learning, ...changes });
    await search.run();
    const { subjects } = await search.select({ density: 0.01 });
    search.dispose();
    return subjects[0]!.embedding!;
  };

  test('is kept in the concept; rate and start have an effect', async () => {
    const learned = await embeddingOf({});
    expect(learned.dtype).toBe('float16');
    expect(learned.values).toHaveLength((await engine.encodePrompt('a cat')).shape[2]);
    expect(await embeddingOf({})).toEqual(learned);
    expect(await embeddingOf({ embeddingRate: 0.02 })).not.toEqual(learned);
    expect(await embeddingOf({ embeddingInit: 'category' })).not.toEqual(learned);
    expect(await embeddingOf({ embeddingInit: 'category', category: 'dog', captions: ['a V1* cat', 'a V1* cat', 'a V1* cat'] })).not.toEqual(
      await embeddingOf({ embeddingInit: 'category', captions: ['a V1* cat', 'a V1* cat', 'a V1* cat'] }),
    );
  });

  test('is the default where a caption has the identifier, and refused where none has', async () => {
    const silent = { captions: ['a cat', 'the cat', 'cat'] };
    const learns = async (changes: Partial<FindConceptOptions>) => {
      const search = await start({ steps: 1, ...changes });
      const { subjects } = await search.select({ density: 0.01 });
      search.dispose();
      return subjects[0]!.embedding !== undefined;
    };
    expect([await learns({}), await learns({ learnEmbedding: false }), await learns(silent)]).toEqual([true, false, false]);
    expect(await rejection(start({ ...silent, learnEmbedding: true }))).toMatchObject({ code: 'CONES_OPTION_INVALID' });
  });

  test('moves by the learning rate in the first step, from where it starts', async () => {
    const [slow, fast] = [await embeddingOf({ steps: 1, embeddingRate: 1e-2 }), await embeddingOf({ steps: 1, embeddingRate: 3e-2 })];
    // Adam's first step is the rate, whatever the gradient: they lie 0.02 apart, but for halves of numbers below 4.
    for (const [i, value] of slow.values.entries()) expect(Math.abs(Math.abs(value - fast.values[i]!) - 0.02)).toBeLessThan(2 ** -9);
  });

  test('goes on bit by bit when the search is resumed', async () => {
    const whole = await start({ ...learning, steps: 4 });
    await whole.run();
    const half = await start({ ...learning, steps: 4 });
    await half.run(2);
    const state = await half.save();
    half.dispose();
    const resumed = await start({ ...learning, steps: 4, resume: state });
    await resumed.run();
    expect(Buffer.compare(await resumed.save(), await whole.save())).toBe(0);
    expect(await rankings(resumed)).toEqual(await rankings(whole));
    for (const other of [{}, { ...learning, learningRate: 1e-4 }, { ...learning, embeddingRate: 0.02 }, { ...learning, embeddingInit: 'category' as const }]) {
      expect(await rejection(start({ ...other, steps: 4, resume: state }))).toMatchObject({ code: 'CONES_STATE_INVALID' });
    }
    [whole, resumed].forEach((search) => search.dispose());
  });

  test('is measured and drawn', async () => {
    const concept = await engine.findConcept(await searchOptions({ ...learning, embeddingRate: 0.5, report: { rows: 4, pictures: 1, densities: [0.05], steps: 1 } }));
    const { subjects: [subject], report } = concept;
    const { loss } = report as unknown as { loss: Record<'untouched' | 'shut' | 'random', { subject: number; prior: number }> };
    const { embedding, ...plain } = subject!;
    expect(embedding).toBeDefined();
    const search = await start();
    const untouched = ((await search.finish({ density: 0.05 })).report as unknown as { loss: typeof loss }).loss.untouched;
    search.dispose();
    expect(loss.untouched).toEqual(untouched);

    const draw = async (drawn: Concept) => (await engine.generate({ prompt: 'a V1* cat', concepts: [drawn], steps: 2, seed: 3 })).images[0]!.data;
    expect(await draw(concept)).not.toEqual(await draw(concept.with({ subjects: [plain] })));
  });

  test('needs captions that name the subject', async () => {
    const nameless = start({ ...learning, captions: ['a cat', 'a cat', 'a cat'] });
    expect(await rejection(nameless)).toMatchObject({ code: 'CONES_OPTION_INVALID', message: expect.stringContaining('V1*') as string });
  });
});

describe('selection', () => {
  let search: ConceptSearch;
  let values: Map<string, Float32Array>;
  beforeAll(async () => {
    search = await start({ steps: 5 });
    await search.run();
    values = new Map(await search.ranking());
  });
  afterAll(() => search.dispose());

  /** All rankings, highest first. */
  const sorted = () => [...values.values()].flatMap((list) => [...list]).sort((a, b) => b - a);

  test.each([1e-9, 0.001, 0.0132, 0.1, 0.3])('density %p: exactly the highest of that many', async (density) => {
    const ranked = sorted();
    const positive = ranked.filter((value) => value > 0).length;
    const count = Math.min(Math.round(density * ranked.length), positive);
    const concept = await search.select({ density });
    expect(concept.neuronCount).toBe(count);
    const lowest = count === 0 ? Infinity : ranked[count - 1]!;
    for (const [name, { indices }] of concept.tensors) {
      const list = values.get(name)!;
      const chosen = new Set(indices);
      expect([...list.keys()].filter((i) => chosen.has(i) !== list[i]! >= lowest && list[i] !== lowest)).toEqual([]);
      expect(indices.every((i) => list[i]! >= lowest)).toBe(true);
    }
  });

  test('a density beyond what ranks above 0 takes only that', async () => {
    const concept = await search.select({ density: 1 });
    expect(concept.neuronCount).toBe(sorted().filter((value) => value > 0).length);
    expect(concept.density).toBeLessThan(1);
  });

  test('threshold: exactly what ranks above it', async () => {
    const threshold = sorted()[500]!;
    const concept = await search.select({ threshold });
    for (const [name, { indices }] of concept.tensors) {
      const list = values.get(name)!;
      expect([...indices]).toEqual([...list.keys()].filter((i) => list[i]! > threshold));
    }
    expect(concept.neuronCount).toBeGreaterThan(0);
  });

  test('a straight-through search is at its density, the paper\'s at the one that measures best', async () => {
    const weights = engine.kvTensors.reduce((sum, { shape: [rows, columns] }) => sum + rows * columns, 0);
    const straight = await engine.findConcept(await searchOptions());
    expect(straight.neuronCount).toBe(Math.round(0.02 * weights));
    expect(straight.method).toBe('algorithm-a2-straight-through');
    const plain = await engine.findConcept(await searchOptions({ straightThrough: false }));
    expect(plain.method).toBe('algorithm-a2');
    expect((plain.report as unknown as { sweep: unknown[] }).sweep.length).toBeGreaterThan(0);
  });

  test('by score takes other neurons', async () => {
    const other = await start({ steps: 5, ranking: 'score' });
    await other.run();
    expect((await other.select({ density: 0.05 })).equals(await search.select({ density: 0.05 }))).toBe(false);
    other.dispose();
  });

  test.each([{}, { density: 'auto' as const }, { density: 0.1, threshold: 1 }, { density: -1 }, { threshold: NaN }])('refuses %j', async (selection) => {
    expect(await rejection(search.select(selection))).toMatchObject({ code: 'CONES_OPTION_INVALID' });
  });
});

describe('saving and resuming', () => {
  test('goes on bit by bit, also after an abort', async () => {
    const whole = await rankingsOf({ steps: 6 });
    const controller = new AbortController();
    const aborted = await start({
      steps: 6,
      signal: controller.signal,
      onProgress: ({ phase, step }) => void (phase === 'search' && step === 2 && controller.abort()),
    });
    // The abort may come too late for a machine this quick, but then all steps are done.
    await aborted.run().catch((error: { code?: string }) => expect(error.code).toBe('CONES_ABORTED'));
    expect(aborted.step).toBeGreaterThanOrEqual(2);
    const state = await aborted.save();
    aborted.dispose();

    const resumed = await start({ steps: 6, resume: state });
    expect(resumed.step).toBeGreaterThanOrEqual(2);
    await resumed.run();
    expect(resumed.step).toBe(6);
    expect(await rankings(resumed)).toEqual(whole);
    resumed.dispose();
  });

  test('in pieces, in another engine', async () => {
    const whole = await rankingsOf({ steps: 4 });
    const first = await start({ steps: 4 });
    await first.run(1);
    expect(first.step).toBe(1);
    const state = await first.save();
    await using other = await load({ threads: 2 });
    const second = await other.startSearch(await searchOptions({ steps: 4, resume: state }));
    await second.run();
    expect(await rankings(second)).toEqual(whole);
    expect(Buffer.compare(await second.save(), await (await start({ steps: 4, resume: await second.save() })).save())).toBe(0);
  });

  test('refuses a state whose second moments are negative, checksum or not', async () => {
    const search = await start();
    await search.run(2);
    const state = await search.save();
    const weights = [...(await search.ranking()).values()].reduce((sum, { length }) => sum + length, 0);
    const first = (await search.ranking()).values().next().value!.length;
    search.dispose();
    // Magic, place, digest of the inputs and losses; the native state begins with 24 bytes, then each weight's displacement, moments and S.
    const native = 8 + 16 + 32 + LossHistory.BYTES;
    expect(state.length).toBeGreaterThanOrEqual(native + 24 + 16 * weights + 32);
    const edited = (tensor: number, bit: number) => {
      const changed = Buffer.from(state);
      changed[native + 24 + 4 * (tensor * first) + 3]! ^= bit;
      createHash('sha256').update(changed.subarray(0, -32)).digest().copy(changed, changed.length - 32);
      return changed;
    };
    // Displacements, first moments and S may have either sign.
    for (const tensor of [0, 1, 3]) (await start({ resume: edited(tensor, 0x80) })).dispose();
    expect(await rejection(start({ resume: edited(2, 0x80) }))).toMatchObject({ code: 'CONES_STATE_INVALID' });
  });

  test('refuses a damaged state, and the state of other options', async () => {
    const search = await start();
    await search.run(1);
    const state = await search.save();
    const flipped = Buffer.from(state);
    flipped[state.length >> 1]! ^= 1;
    for (const damage of [flipped, state.subarray(0, -1), Buffer.concat([state, state]), Buffer.alloc(0)]) {
      expect(await rejection(start({ resume: damage }))).toMatchObject({ code: 'CONES_STATE_INVALID' });
    }
    expect(await rejection(start({ resume: state, seed: 1 }))).toMatchObject({ code: 'CONES_STATE_INVALID', message: expect.stringContaining('other') as string });
    expect(await rejection(start({ resume: state, density: 0.1 }))).toMatchObject({ code: 'CONES_STATE_INVALID' });
    expect(await rejection(start({ resume: state, optimizer: 'sgd' }))).toMatchObject({ code: 'CONES_STATE_INVALID' });
  });
});

describe('checkpoints', () => {
  interface Saved { readonly step: number; readonly state: Buffer }
  const saving = (every: number, saved: Saved[]) => ({ every, save: async (state: Buffer, step: number) => void saved.push({ step, state }) });

  test('come every so many steps and after the last, and each goes on to the same bytes as an uninterrupted search', async () => {
    const whole = await (await engine.findConcept(await searchOptions({ steps: 7 }))).toBuffer();
    const saved: Saved[] = [];
    const observed = await engine.findConcept(await searchOptions({ steps: 7, checkpoint: saving(3, saved) }));
    expect(saved.map(({ step }) => step)).toEqual([3, 6, 7]);
    expect(observed.toBuffer().equals(whole)).toBe(true);
    for (const { step, state } of saved) {
      const more: Saved[] = [];
      const resumed = await engine.findConcept(await searchOptions({ steps: 7, resume: state, checkpoint: saving(3, more) }));
      expect(resumed.toBuffer().equals(whole)).toBe(true);
      expect(more.map((own) => own.step)).toEqual([6, 7].filter((own) => own > step));
      expect(more.every((own) => own.state.equals(saved.find((first) => first.step === own.step)!.state))).toBe(true);
    }
  });

  test('no step is taken while one is being saved', async () => {
    let steps = 0;
    let saving = false;
    const save = async () => {
      saving = true;
      const before = steps;
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect(steps).toBe(before);
      saving = false;
    };
    const onProgress = ({ phase }: { phase: string }) => {
      if (phase !== 'search') return;
      steps++;
      expect(saving).toBe(false);
    };
    await engine.findConcept(await searchOptions({ steps: 4, checkpoint: { every: 1, save }, onProgress }));
    expect(steps).toBe(4);
  });

  test.each([
    ['rejects', async () => { throw new RangeError('disk'); }],
    ['throws', () => { throw new RangeError('disk'); }],
  ])('one that %s ends the search with that error', async (_, save) => {
    const search = await start({ steps: 6, checkpoint: { every: 2, save } });
    await expect(search.run()).rejects.toMatchObject({ name: 'RangeError', message: 'disk' });
    expect(search.step).toBe(2);
    search.dispose();
  });

  test.each([{ every: 0, save: () => undefined }, { every: 1 }, { every: 1.5, save: () => undefined }, 5])('refuses %p', async (checkpoint) => {
    await expect(start({ checkpoint: checkpoint as never })).rejects.toMatchObject({ code: 'CONES_OPTION_INVALID' });
  });

  test('the report has the losses of the steps', async () => {
    const losses: [number, number, number][] = [];
    const onProgress: FindConceptOptions['onProgress'] = ({ phase, step, subjectLoss, priorLoss }) => void (phase === 'search' && losses.push([step, subjectLoss!, priorLoss!]));
    const concept = await engine.findConcept(await searchOptions({ steps: 3, onProgress }));
    const column = (i: 0 | 1 | 2) => losses.map((row) => Number(row[i].toPrecision(4)));
    expect((concept.report as { history: unknown }).history).toEqual({ step: [1, 2, 3], subject: column(1), prior: column(2) });
  });
});
