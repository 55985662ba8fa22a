// The same inputs give the same bytes, whatever else is drawn, on however many threads, whatever was drawn before.
import { execFile } from 'node:child_process';
import path from 'node:path';
import { Concept, type Engine, type GenerateOptions } from '../../lib';
import { native } from '../../lib/native';
import { conceptOf, load, pictures } from '../runtime/model';

const drawing: GenerateOptions = { prompt: 'a V1* cat', steps: 4, seed: 11 };

let engine: Engine;
let first: Concept;
let second: Concept;
beforeAll(async () => {
  engine = await load();
  first = conceptOf(engine, 0, 3);
  second = conceptOf(engine, 1, 4, 'V2*', 'z');
});
afterAll(() => engine.dispose());

const bytes = async (on: Engine, options: Partial<GenerateOptions> = {}) => {
  const { images } = await on.generate({ ...drawing, ...options });
  return images.map(({ data }) => Buffer.from(data).toString('base64'));
};

describe('a picture is a function of its own inputs', () => {
  test('a seed is a picture', async () => {
    const [a] = await bytes(engine);
    expect(await bytes(engine)).toEqual([a]);
    expect(await bytes(engine, { seed: 11n })).toEqual([a]);
    expect(await bytes(engine, { seed: 12 })).not.toEqual([a]);
  });

  test('count takes the seeds seed, seed + 1, … and names them', async () => {
    const { images } = await engine.generate({ ...drawing, count: 3 });
    expect(images.map(({ metadata }) => metadata['seed'])).toEqual(['11', '12', '13']);
    const single = (await Promise.all([11, 12, 13].map((seed) => bytes(engine, { seed })))).flat();
    expect(images.map(({ data }) => Buffer.from(data).toString('base64'))).toEqual(single);
  });

  test('the last seed is followed by 0', async () => {
    const { images } = await engine.generate({ ...drawing, seed: 2n ** 64n - 1n, count: 2 });
    expect(images.map(({ metadata }) => metadata['seed'])).toEqual([(2n ** 64n - 1n).toString(), '0']);
  });

  test('whatever the number of threads', async () => {
    await using two = await load({ threads: 2 });
    await using five = await load({ threads: 5 });
    const one = await bytes(engine, { concepts: [first] });
    expect(await bytes(two, { concepts: [first] })).toEqual(one);
    expect(await bytes(five, { concepts: [first] })).toEqual(one);
  });

  test.each([1, 2, 3, 7])('whatever is drawn with it, %i at a time', async (batchSize) => {
    const prompt = ['a V1* cat', 'a dog', 'the sea at night', 'a V1* cat'];
    const together = await bytes(engine, { prompt, count: 2, batchSize });
    const alone = (await Promise.all(prompt.map((text) => bytes(engine, { prompt: text, count: 2 })))).flat();
    expect(together).toEqual(alone);
  });

  test('whatever runs at the same time, on this engine and on others', async () => {
    await using other = await load();
    const seeds = [1, 2, 3, 4, 5, 6, 7, 8];
    const alone: string[][] = [];
    for (const seed of seeds) alone.push(await bytes(engine, { seed }));
    const on = (target: Engine) => Promise.all(seeds.map((seed) => bytes(target, { seed })));
    expect(await Promise.all([on(engine), on(other)])).toEqual([alone, alone]);
  });
});

describe('concepts', () => {
  test('change the picture, and it is the same again without them', async () => {
    const plain = await bytes(engine);
    const shut = await bytes(engine, { concepts: [first] });
    expect(shut).not.toEqual(plain);
    expect(await bytes(engine, { concepts: [second], prompt: 'a V2* cat' })).not.toEqual(shut);
    expect(await bytes(engine)).not.toEqual(shut);
    const nothing = first.with({ tensors: new Map([[engine.kvTensors[0]!.name, { shape: engine.kvTensors[0]!.shape, indices: new Uint32Array() }]]) });
    // The rare token stands where the identifier stood.
    expect(await bytes(engine, { prompt: 'a q cat' })).toEqual(await bytes(engine, { prompt: 'a V1* cat', concepts: [nothing] }));
    expect(await bytes(engine)).toEqual(plain);
  });

  test('two in one batch are as two single calls', async () => {
    const prompt = ['a V1* cat', 'a V2* cat', 'a cat'];
    const concepts = [[first], [second], []];
    const together = await bytes(engine, { prompt, concepts, count: 2, batchSize: 6 });
    const alone = await Promise.all(prompt.map((text, i) => bytes(engine, { prompt: text, concepts: concepts[i]!, count: 2 })));
    expect(together).toEqual(alone.flat());
  });

  test('with one identifier and different embeddings, two in one batch are as two single calls', async () => {
    const learned = (concept: Concept, value: number) =>
      concept.with({ subjects: [{ ...first.subjects[0]!, embedding: { dtype: 'float32', values: Float32Array.from({ length: 32 }, (__, i) => value * Math.sin(i)) } }] });
    const concepts = [[learned(first, 1)], [learned(first, -1)], [first]];
    const prompt = concepts.map(() => 'a V1* cat');
    const together = await bytes(engine, { prompt, concepts });
    expect(new Set(together).size).toBe(3);
    expect(together).toEqual((await Promise.all(concepts.map((own) => bytes(engine, { concepts: own })))).flat());
  });

  test('of one request shut their union', async () => {
    const union = Concept.union(first, second);
    expect(union.neuronCount).toBeGreaterThan(first.neuronCount);
    expect(await bytes(engine, { concepts: [first, second] })).toEqual(await bytes(engine, { concepts: [union] }));
  });

  test('leave the base weights as they are: gradients and fingerprint', async () => {
    const input = { data: native().randomNormal(3n, 0, 256), shape: [1, 4, 8, 8] as const };
    const text = await engine.encodePrompt('a cat');
    const gradient = () => engine.conceptGradient(input, [500], text, { target: new Float32Array(256) });
    const before = await gradient();
    const shut = await engine.conceptGradient(input, [500], text, { target: new Float32Array(256), concepts: first });
    expect(shut.loss).not.toBe(before.loss);
    const after = await gradient();
    expect(after.loss).toBe(before.loss);
    for (const [name, values] of before.gradients) expect(Buffer.from(after.gradients.get(name)!.buffer).equals(Buffer.from(values.buffer))).toBe(true);
    await using fresh = await load();
    expect(fresh.fingerprint).toBe(engine.fingerprint);
  });

  test('arrays may be written to as soon as denoise() and conceptGradient() have been called', async () => {
    const values = () => native().randomNormal(4n, 0, 256);
    const text = await engine.encodePrompt('a cat');
    const call = async (spoil: boolean) => {
      const concepts = conceptOf(engine, 2); // whose mask has to be made first
      const [data, target, embeddings] = [values(), values(), { ...text, data: text.data.slice() }];
      const latents = { data, shape: [1, 4, 8, 8] as const };
      const results = [engine.denoise(latents, [500], embeddings, { concepts }), engine.conceptGradient(latents, [500], embeddings, { concepts, target })] as const;
      if (spoil) for (const array of [data, target, embeddings.data]) array.fill(NaN);
      const [output, { loss }] = await Promise.all(results);
      return [...output, loss];
    };
    expect(await call(true)).toEqual(await call(false));
  });

  test('per row in denoise() are as single calls', async () => {
    const size = 256;
    const data = native().randomNormal(4n, 0, 3 * size);
    const row = (i: number) => ({ data: data.slice(i * size, (i + 1) * size), shape: [1, 4, 8, 8] as const });
    const text = await engine.encodePrompt(['a cat', 'a cat', 'a cat']);
    const one = await engine.encodePrompt('a cat');
    const concepts = [[first], null, [first, second]];
    const together = await engine.denoise({ data, shape: [3, 4, 8, 8] }, [1, 500, 999], text, { concepts });
    for (const [i, t] of [1, 500, 999].entries()) {
      const alone = await engine.denoise(row(i), [t], one, { concepts: concepts[i]! });
      expect(Buffer.from(together.slice(i * size, (i + 1) * size).buffer).equals(Buffer.from(alone.buffer))).toBe(true);
    }
  });
});

// Sums are rounded in other orders. The goldens hold every kernel to 2 × PyTorch's own error in fp32, which is hundreds of
// times smaller than a step of a picture's bytes.
test.each(['scalar', 'avx2'])('the kernels for %s draw the same within rounding', async (isa) => {
  const script = `
    const { load } = require('./model.ts');
    load().then(async (engine) => {
      const { images } = await engine.generate(${JSON.stringify(drawing)});
      console.log(JSON.stringify({ isa: engine.instructionSet, warnings: engine.warnings.map(({ code }) => code), data: [...images[0].data] }));
    });`;
  const cwd = path.join(__dirname, '../runtime');
  const output = await new Promise<string>((resolve, reject) => {
    execFile(process.execPath, ['-r', './register.cjs', '-e', script], { cwd, env: { ...process.env, CONES_ISA: isa }, maxBuffer: 2 ** 24 }, (error, stdout) =>
      error ? reject(error) : resolve(stdout),
    );
  });
  const { isa: used, warnings, data } = JSON.parse(output) as { isa: string; warnings: string[]; data: number[] };
  expect(used).toBe(isa);
  expect(warnings).toEqual(isa === 'scalar' ? ['slow-instruction-set'] : []);
  const { images } = await engine.generate(drawing);
  const worst = data.reduce((most, value, i) => Math.max(most, Math.abs(value - images[0]!.data[i]!)), 0);
  // Bytes: a value at the edge between two may fall to either side.
  expect(worst).toBeLessThanOrEqual(1);
});

// At 256 × 256 five of them are two groups, and at 64 × 64 one.
test.each([64, 256])('pictures of files are encoded in groups as one by one, %d pixels wide', async (side) => {
  const size = { width: side, height: side };
  const files = await pictures(5);
  const moments = await engine.encodeImage(files, size);
  expect(moments.shape).toEqual([5, 8, side / 8, side / 8]);
  const alone = await Promise.all(files.map((file) => engine.encodeImage([file], size)));
  expect(Buffer.from(moments.data.buffer).equals(Buffer.concat(alone.map(({ data }) => Buffer.from(data.buffer))))).toBe(true);
});
