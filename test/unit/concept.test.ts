import { mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { runInNewContext } from 'node:vm';
import { Concept, type ConceptData } from '../../lib/concept';
import { cat, codeOf, conceptOf, mulberry32, randomIndices, tensor } from './concept-samples';

const neuronsOf = (concept: Concept) => Object.fromEntries([...concept.tensors].map(([name, { indices }]) => [name, [...indices]]));

describe('create', () => {
  test('copies and freezes what it is given', () => {
    const indices = Uint32Array.of(1, 2);
    const report = { loss: [0.5, { after: 0.25 }] };
    const concept = conceptOf({ tensors: new Map([['w', { shape: [4], indices }]]), report });
    indices[0] = 0;
    report.loss[0] = 7;
    expect(neuronsOf(concept)).toEqual({ w: [1, 2] });
    expect(concept.report).toEqual({ loss: [0.5, { after: 0.25 }] });
    expect(() => Object.assign(concept, { steps: 1 })).toThrow();
    expect(() => Object.assign(concept.subjects[0]!, { token: 'x' })).toThrow();
    expect(() => Object.assign(concept.report!.loss as object, { 0: 1 })).toThrow();
  });

  test('what is written to the arrays that it gives away changes nothing', () => {
    const concept = conceptOf({
      subjects: [{ identifier: 'V1*', token: 't', category: 'c', embedding: { dtype: 'float32', values: Float32Array.of(1, 2) } }],
      tensors: new Map([['w', tensor([4], [1, 2])]]),
    });
    const saved = concept.toBuffer();
    concept.tensors.get('w')!.indices.reverse();
    (concept.tensors as Map<string, unknown>).clear();
    concept.indicesFor(['w'])[0]!.fill(0);
    concept.subjects[0]!.embedding!.values.fill(7);
    for (const change of [() => Object.assign(concept.tensors.get('w')!.shape, { 0: 2 }), () => Object.assign(concept.tensors.get('w')!, { indices: new Uint32Array(1) }), () => Object.assign(concept, { tensors: new Map() })]) {
      expect(change).toThrow(TypeError);
    }
    expect(concept.toBuffer()).toEqual(saved);
    expect(neuronsOf(concept)).toEqual({ w: [1, 2] });
    expect(neuronsOf(Concept.fromBuffer(concept.toBuffer()))).toEqual({ w: [1, 2] });
    // Of files, too.
    const loaded = Concept.fromBuffer(saved);
    loaded.tensors.get('w')!.indices.reverse();
    expect(loaded.toBuffer()).toEqual(saved);
    expect(loaded.equals(concept)).toBe(true);
  });

  test('its parts can be spread into another', () => {
    const concept = conceptOf();
    expect(Concept.create({ ...concept, steps: 5 }).equals(concept)).toBe(true);
  });

  test('counts neurons and weights', () => {
    expect(conceptOf()).toMatchObject({ neuronCount: 16, weightCount: 208, density: 16 / 208 });
  });

  const bad: [string, Partial<Record<keyof ConceptData, unknown>>][] = [
    ['descending indices', { tensors: new Map([['w', tensor([8], [3, 2])]]) }],
    ['repeated indices', { tensors: new Map([['w', tensor([8], [3, 3])]]) }],
    ['an index outside the weight', { tensors: new Map([['w', tensor([2, 4], [8])]]) }],
    ['indices of another type', { tensors: new Map([['w', { shape: [8], indices: [1] }]]) }],
    ['a shape with a zero', { tensors: new Map([['w', tensor([0, 4], [])]]) }],
    ['a shape with a fraction', { tensors: new Map([['w', tensor([1.5], [])]]) }],
    ['a weight with more than 2^31 elements', { tensors: new Map([['w', tensor([2 ** 16, 2 ** 16], [])]]) }],
    ['more than 2^34 weights', { tensors: new Map([...Array(9).keys()].map((i) => [`w${i}`, tensor([2 ** 31], [])])) }],
    ['no weights', { tensors: new Map() }],
    ['weights that are no map', { tensors: [] }],
    ['no subjects', { subjects: [] }],
    ['two subjects of one name', { subjects: [cat.subjects[0], cat.subjects[0]] }],
    ['an empty token', { subjects: [{ ...cat.subjects[0], token: '' }] }],
    ['an escape sequence in a name', { subjects: [{ ...cat.subjects[0], category: 'cat\x1b[2J' }] }],
    ['a name of 257 characters', { method: 'x'.repeat(257) }],
    ['a name of 257 code units in 129 characters', { method: `x${'🐈'.repeat(128)}` }],
    ['negative steps', { steps: -1 }],
    ['a report that is no object', { report: [1] }],
    ['a report that refers to itself', { report: Object.assign({}, ...[{}].map((o) => ({ o: Object.assign(o, { o }) }))) as unknown }],
    ['a report nested too deeply', { report: { a: JSON.parse('['.repeat(40) + ']'.repeat(40)) as unknown } }],
    ['an embedding that is not finite', { subjects: [{ ...cat.subjects[0], embedding: { dtype: 'float32', values: Float32Array.of(NaN) } }] }],
    ['an embedding beyond the range of float16', { subjects: [{ ...cat.subjects[0], embedding: { dtype: 'float16', values: Float32Array.of(1e5) } }] }],
    ['an embedding of no values', { subjects: [{ ...cat.subjects[0], embedding: { dtype: 'float16', values: new Float32Array() } }] }],
  ];
  test.each(bad)('refuses %s', (_, changes) => {
    expect(codeOf(() => conceptOf(changes as Partial<ConceptData>)).code).toBe('CONES_OPTION_INVALID');
  });
});

test('with() knows its parts', () => {
  expect(conceptOf().with({ steps: 7 }).steps).toBe(7);
  expect(() => conceptOf().with({ step: 7 } as never)).toThrow(expect.objectContaining({ code: 'CONES_OPTION_INVALID', message: expect.stringContaining('"step"') as string }) as Error);
});

describe('bytes', () => {
  test('there and back, with everything a concept may have', () => {
    const random = mulberry32(1);
    const densities = [0, 1e-5, 0.0132, 0.0701, 0.4, 0.9];
    const concept = conceptOf({
      subjects: [
        { identifier: 'V1*', token: 'ktn', category: 'cat', embedding: { dtype: 'float16', values: Float32Array.from({ length: 768 }, random) } },
        { identifier: '<pot>', token: 'pll', category: 'wooden pot' },
        { identifier: 'V3*', token: 'ucd', category: '猫 🐈', embedding: { dtype: 'float32', values: Float32Array.of(1e30, -0, 0.1) } },
      ],
      report: { loss: { before: 0.13, after: 0.1 }, notes: ['ä', null, true, '"]}'] },
      tensors: new Map(densities.map((density, i) => [`layer.${i}`, { shape: [320, 320], indices: density ? randomIndices(320 * 320, density, random) : new Uint32Array() }])),
    });
    const back = Concept.fromBuffer(concept.toBuffer());
    expect(back).toEqual(concept);
    expect(back.equals(concept)).toBe(true);
    expect(back.info().tensors.map(({ coding }) => coding)).toEqual(['golomb', 'golomb', 'golomb', 'golomb', 'bitmap', 'bitmap']);
  });

  test('a full weight costs its bitmap and no more', () => {
    const concept = conceptOf({ tensors: new Map([['w', tensor([100, 100], Array(10000).keys())]]) });
    expect(concept.info().tensors[0]).toMatchObject({ neuronCount: 10000, density: 1, byteLength: 1250 });
    expect(Concept.fromBuffer(concept.toBuffer())).toEqual(concept);
  });

  test('a header beyond the limit is refused when writing', () => {
    const concept = conceptOf({ report: { long: 'x'.repeat(2 ** 20) } });
    expect(codeOf(() => concept.toBuffer()).code).toBe('CONES_OPTION_INVALID');
  });

  test('may lie anywhere in a larger buffer', () => {
    const file = conceptOf().toBuffer();
    const larger = Buffer.concat([Buffer.alloc(3), file, Buffer.alloc(5)]);
    expect(Concept.fromBuffer(new Uint8Array(larger.buffer, larger.byteOffset + 3, file.length))).toEqual(conceptOf());
  });
});

describe('files', () => {
  let folder: string;
  beforeEach(async () => void (folder = await mkdtemp(path.join(os.tmpdir(), 'cones-'))));
  afterEach(() => rm(folder, { recursive: true }));

  test('save replaces a file, leaves nothing else behind, and load reads it', async () => {
    const file = path.join(folder, 'cat.cones');
    await writeFile(file, 'old');
    await conceptOf().save(file);
    expect(await readdir(folder)).toEqual(['cat.cones']);
    expect(await readFile(file)).toEqual(conceptOf().toBuffer());
    expect(await Concept.load(file)).toEqual(conceptOf());
  });

  test('a failing save is CONES_IO and leaves nothing behind', async () => {
    const folderInTheWay = path.join(folder, 'cat.cones');
    await mkdir(folderInTheWay);
    await expect(conceptOf().save(folderInTheWay)).rejects.toMatchObject({ code: 'CONES_IO' });
    await expect(conceptOf().save(path.join(folder, 'missing', 'cat.cones'))).rejects.toMatchObject({ code: 'CONES_IO' });
    expect(await readdir(folder)).toEqual(['cat.cones']);
  });

  test('loading a missing file, a folder or a device is CONES_IO', async () => {
    for (const file of [path.join(folder, 'none.cones'), folder, '/dev/zero']) {
      await expect(Concept.load(file)).rejects.toMatchObject({ code: 'CONES_IO' });
    }
  });

  test('the error of a damaged file names it', async () => {
    const file = path.join(folder, 'cat.cones');
    await conceptOf().save(file);
    await truncate(file, 100);
    await expect(Concept.load(file)).rejects.toMatchObject({ code: 'CONES_CONCEPT_CORRUPT', message: expect.stringContaining(file) as unknown });
  });
});

describe('Unicode forms and realms', () => {
  const named = (form: string) => conceptOf({ subjects: [{ ...cat.subjects[0]!, identifier: 'béret*'.normalize(form), category: 'béret'.normalize(form) }] });

  test('a concept saved in NFD is the same as in NFC', () => {
    const old = Concept.fromBuffer(named('NFD').toBuffer());
    expect(old.subjects[0]!.identifier).toBe('béret*'.normalize('NFD'));
    expect(old.equals(named('NFC'))).toBe(true);
    expect(Concept.union(old, named('NFC')).subjects).toHaveLength(1);
  });

  test('two subjects cannot have one identifier in two forms', () => {
    const subjects = ['NFC', 'NFD'].map((form) => ({ identifier: 'é*'.normalize(form), token: form, category: 'cat' }));
    expect(codeOf(() => conceptOf({ subjects })).code).toBe('CONES_OPTION_INVALID');
  });

  test('a Map of another realm is a Map', () => {
    const tensors = runInNewContext('new Map(entries)', { entries: [...conceptOf().tensors] }) as ConceptData['tensors'];
    expect(tensors instanceof Map).toBe(false);
    expect(Concept.create({ ...cat, tensors }).equals(conceptOf())).toBe(true);
  });
});

describe('base model', () => {
  test('assertBaseModel', () => {
    conceptOf().assertBaseModel('sha256:base-a');
    expect(codeOf(() => conceptOf().assertBaseModel('sha256:base-b')).code).toBe('CONES_CONCEPT_MISMATCH');
  });

  test('indicesFor gives the arrays in the order asked for', () => {
    const [none, b, v, a] = conceptOf().indicesFor(['c.to_k.weight', 'b.to_k.weight', 'a.to_v.weight', 'a.to_k.weight']);
    expect([[...none!], [...b!], [...v!], [...a!]]).toEqual([[], [0, 1, 2, 3, 4, 6, 7, 8, 9, 11, 15], [], [0, 5, 6, 40, 127]]);
  });

  test('indicesFor drops no neuron silently', () => {
    conceptOf().indicesFor(['a.to_k.weight', 'b.to_k.weight']); // a.to_v has none
    expect(codeOf(() => conceptOf().indicesFor(['a.to_k.weight'])).code).toBe('CONES_CONCEPT_MISMATCH');
  });
});

test('info is plain JSON', () => {
  const embedding = { dtype: 'float16', values: Float32Array.of(1, 2) } as const;
  const info = conceptOf({ subjects: [{ ...cat.subjects[0]!, embedding }], report: { a: 1 } }).info();
  expect(JSON.parse(JSON.stringify(info))).toEqual(info);
  expect(info).toMatchObject({
    formatVersion: 1,
    fingerprint: 'sha256:base-a',
    subjects: [{ identifier: 'V1*', token: 'ktn', category: 'cat', embedding: { dtype: 'float16', length: 2 } }],
    method: 'algorithm-a2',
    steps: 300,
    engineVersion: '0.1.0',
    neuronCount: 16,
    weightCount: 208,
    report: { a: 1 },
  });
  expect(info.tensors[2]).toEqual({ name: 'b.to_k.weight', shape: [4, 4], neuronCount: 11, density: 11 / 16, coding: 'bitmap', byteLength: 2 });
});
