import { Concept } from '../../lib/concept';
import { cat, codeOf, conceptOf, mulberry32, randomIndices, tensor } from './concept-samples';

const pot = { identifier: 'V2*', token: 'pll', category: 'pot' };
const SHAPE = [30, 40];

/** A cat and a pot with random neurons in two weights, of which they share one. */
function pair(seed: number): { a: Concept; b: Concept } {
  const random = mulberry32(seed);
  const mask = () => ({ shape: SHAPE, indices: randomIndices(1200, 0.1, random) });
  const a = conceptOf({ tensors: new Map([['k', mask()], ['v', mask()]]) });
  const b = conceptOf({ subjects: [pot], tensors: new Map([['v', mask()], ['q', mask()]]) });
  return { a, b };
}

/** The same algebra on JavaScript's sets of "name:index". */
const setOf = (concept: Concept) => new Set([...concept.tensors].flatMap(([name, { indices }]) => [...indices].map((index) => `${name}:${index}`)));
const same = (concept: Concept, expected: Iterable<string>) => expect([...setOf(concept)].sort()).toEqual([...expected].sort());

test.each([1, 2, 3, 4])('union, intersection and difference are those of sets (seed %d)', (seed) => {
  const { a, b } = pair(seed);
  const [x, y] = [setOf(a), setOf(b)];
  same(Concept.union(a, b), new Set([...x, ...y]));
  same(Concept.intersection(a, b), [...x].filter((neuron) => y.has(neuron)));
  same(Concept.difference(a, b), [...x].filter((neuron) => !y.has(neuron)));
  expect(Concept.union(a, b).weightCount).toBe(3600);
});

test('three operands', () => {
  const of = (...indices: number[]) => conceptOf({ tensors: new Map([['w', tensor([8], indices)]]) });
  const three = [of(0, 1, 2, 3), of(1, 3, 5), of(2, 3, 7)] as const;
  same(Concept.union(...three), ['w:0', 'w:1', 'w:2', 'w:3', 'w:5', 'w:7']);
  same(Concept.intersection(...three), ['w:3']);
  same(Concept.difference(...three), ['w:0']);
});

test('results are concepts that can be saved, and tell what they were made of', () => {
  const { a, b } = pair(5);
  const both = Concept.union(a, b);
  expect(Concept.fromBuffer(both.toBuffer()).equals(both)).toBe(true);
  expect(both).toMatchObject({ method: 'union', steps: 0, subjects: [cat.subjects[0], pot] });
  expect(both.report).toEqual({
    operands: [
      { identifiers: ['V1*'], method: 'algorithm-a2', steps: 300, neuronCount: a.neuronCount },
      { identifiers: ['V2*'], method: 'algorithm-a2', steps: 300, neuronCount: b.neuronCount },
    ],
  });
  expect(Concept.difference(a, b).subjects).toEqual(cat.subjects);
});

test('one identifier for one subject stays one; for two it is an error until one is renamed', () => {
  const { a, b } = pair(6);
  expect(Concept.union(a, a).subjects).toEqual(cat.subjects);
  const clashing = b.with({ subjects: [{ ...pot, identifier: 'V1*' }] });
  expect(codeOf(() => Concept.union(a, clashing)).code).toBe('CONES_OPTION_INVALID');
  expect(Concept.union(a, clashing.with({ subjects: [pot] })).subjects).toHaveLength(2);
});

test('concepts of different base models do not mix', () => {
  const { a, b } = pair(7);
  const other = b.with({ fingerprint: 'sha256:base-b' });
  const reshaped = b.with({ tensors: new Map([['v', tensor([40, 30], [1])]]) });
  for (const stranger of [other, reshaped]) {
    for (const operate of [Concept.union, Concept.intersection, Concept.difference, Concept.jaccard]) {
      expect(codeOf(() => operate(a, stranger)).code).toBe('CONES_CONCEPT_MISMATCH');
    }
  }
});

test('jaccard: a case worked by hand', () => {
  const a = conceptOf({ tensors: new Map([['k', tensor([10], [0, 1, 2, 3])], ['v', tensor([20], [5])], ['empty', tensor([4], [])]]) });
  const b = conceptOf({ tensors: new Map([['v', tensor([20], [5, 6])], ['k', tensor([10], [3, 4])], ['empty', tensor([4], [])]]) });
  const { layers, ...total } = Concept.jaccard(a, b);
  expect(total).toEqual({ neurons: [5, 4], shared: 2, union: 7, jaccard: 2 / 7, sharedFraction: 2 / 9, expectedShared: 8 / 10 + 2 / 20 });
  expect(layers).toEqual([
    { name: 'k', neurons: [4, 2], shared: 1, union: 5, jaccard: 1 / 5, sharedFraction: 1 / 6, expectedShared: 8 / 10 },
    { name: 'v', neurons: [1, 2], shared: 1, union: 2, jaccard: 1 / 2, sharedFraction: 1 / 3, expectedShared: 2 / 20 },
    { name: 'empty', neurons: [0, 0], shared: 0, union: 0, jaccard: 0, sharedFraction: 0, expectedShared: 0 },
  ]);
});

test('a weight that only one concept lists counts as empty in the other', () => {
  const { a, b } = pair(8);
  const { layers } = Concept.jaccard(a, b);
  expect(layers.map(({ name }) => name)).toEqual(['k', 'v', 'q']);
  expect(layers[0]).toMatchObject({ neurons: [a.tensors.get('k')!.indices.length, 0], shared: 0, jaccard: 0 });
});

describe('withIdentifier', () => {
  const { a } = pair(10);
  const [subject] = a.subjects;

  test('gives the subject another name, and so another hash, and changes nothing else', () => {
    const renamed = a.withIdentifier('<mine>');
    expect(renamed.subjects).toEqual([{ ...subject!, identifier: '<mine>' }]);
    expect(renamed.hash).not.toBe(a.hash);
    expect(renamed.withIdentifier(subject!.identifier).equals(a)).toBe(true);
  });

  test('so that concepts of different users go together, both found under one name', () => {
    const b = a.with({ subjects: [{ ...subject!, embedding: { dtype: 'float32', values: Float32Array.of(1) } }] });
    expect(() => Concept.union(a, b)).toThrow(expect.objectContaining({ code: 'CONES_OPTION_INVALID', message: expect.stringContaining('withIdentifier') as string }));
    expect(Concept.union(a, b.withIdentifier('V7*')).subjects.map(({ identifier }) => identifier)).toEqual([subject!.identifier, 'V7*']);
  });

  test('of several subjects the one with the identifier so far, in any case', () => {
    const both = Concept.union(a, a.withIdentifier('V7*'));
    expect(both.withIdentifier('V8*', 'v7*').subjects.map(({ identifier }) => identifier)).toEqual([subject!.identifier, 'V8*']);
    for (const rename of [() => both.withIdentifier('V8*'), () => both.withIdentifier('V8*', 'V9*'), () => both.withIdentifier(subject!.identifier, 'V7*'), () => a.withIdentifier('')]) {
      expect(rename).toThrow(expect.objectContaining({ code: 'CONES_OPTION_INVALID' }));
    }
  });
});

describe('equals', () => {
  const { a } = pair(9);
  test('disregards order, empty weights and how the neurons were found', () => {
    const reordered = new Map([...a.tensors].reverse());
    expect(a.equals(a.with({ tensors: reordered, steps: 1, method: 'x', report: {} }))).toBe(true);
    expect(a.equals(a.with({ tensors: new Map([...a.tensors, ['empty', tensor([4], [])]]) }))).toBe(true);
  });
  test.each([
    ['another base model', { fingerprint: 'x' }],
    ['another subject', { subjects: [pot] }],
    ['an embedding', { subjects: [{ ...cat.subjects[0]!, embedding: { dtype: 'float32', values: Float32Array.of(1) } as const }] }],
    ['as many other neurons', { tensors: new Map([...a.tensors, ['k', tensor(SHAPE, a.tensors.get('k')!.indices.keys())]]) }],
    ['more neurons', { tensors: new Map([...a.tensors, ['q', tensor(SHAPE, [1])]]) }],
    ['fewer neurons', { tensors: new Map([['k', a.tensors.get('k')!]]) }],
  ])('sees %s', (_, changes) => {
    expect(a.equals(a.with(changes))).toBe(false);
    expect(a.with(changes).equals(a)).toBe(false);
  });
});
