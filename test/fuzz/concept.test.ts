import { Concept } from '../../lib/concept';
import { codeOf, conceptOf, mulberry32, putTogether, randomIndices, seal, takeApart } from '../unit/concept-samples';

const ROUNDS = 2000;
const random = mulberry32(20261123);
const below = (max: number) => Math.floor(random() * max);
const pick = <T>(values: readonly T[]): T => values[below(values.length)]!;

const mask = (shape: [number, number], density: number) => ({ shape, indices: randomIndices(shape[0] * shape[1], density, random) });
const original = conceptOf({
  subjects: [{ identifier: 'V1*', token: 'ktn', category: 'cat', embedding: { dtype: 'float16', values: Float32Array.of(1, 2, 3) } }],
  report: { loss: [0.1, 0.2] },
  tensors: new Map([['a', mask([64, 64], 0.0132)], ['b', mask([32, 48], 0.07)], ['c', mask([8, 8], 0.5)], ['d', mask([16, 16], 0.001)]]),
});
const file = original.toBuffer();

/** Reads hostile bytes: the result is a sound concept in bounded memory, or CONES_CONCEPT_CORRUPT. Tells whether it was read. */
function read(bytes: Buffer): boolean {
  let concept: Concept;
  try {
    concept = Concept.fromBuffer(bytes);
  } catch (error) {
    if ((error as { code?: string }).code !== 'CONES_CONCEPT_CORRUPT') throw error;
    return false;
  }
  if (concept.neuronCount > 8 * bytes.length) throw new Error(`${concept.neuronCount} neurons from ${bytes.length} bytes`);
  Concept.create(concept); // checks everything again, the order of the indices too
  if (!Concept.fromBuffer(concept.toBuffer()).equals(concept)) throw new Error('it does not survive saving');
  return true;
}

function flipBits(bytes: Buffer, from: number, to: number): Buffer {
  const copy = Buffer.from(bytes);
  const places = new Set(Array.from({ length: 1 + below(4) }, () => from + below(to - from)));
  for (const place of places) copy[place]! ^= 1 << below(8);
  return copy;
}

/** Replaces one value anywhere in the header. */
function mutateValue(node: unknown): void {
  const container = node as Record<string, unknown>;
  const key = pick(Object.keys(container));
  const child = container[key];
  if (typeof child === 'object' && child !== null && Object.keys(child).length > 0 && random() < 0.8) return mutateValue(child);
  const number = typeof child === 'number' ? child : 1;
  container[key] = pick<() => unknown>([
    () => number + pick([-1, 1, 8, -8]),
    () => number * pick([2, 0.5, -1, 2 ** 20]),
    () => pick([0, 1, 2 ** 31, 2 ** 31 - 1, 2 ** 32, 2 ** 53, 1e308, -0, 0.5]),
    () => pick([null, '', 'golomb', 'bitmap', '__proto__', true, [], {}, [2 ** 16, 2 ** 15], [1, 2, 3, 4, 5]]),
    () => below(300),
  ])();
  if (random() < 0.1) delete container[key];
}

/** How many of many made files were read. */
const fuzz = (make: () => Buffer): number => {
  let count = 0;
  for (let i = 0; i < ROUNDS; i++) if (read(make())) count++;
  return count;
};

test('the file itself is read', () => {
  expect(read(file)).toBe(true);
});

test('any damage without a new checksum is found', () => {
  expect(fuzz(() => (random() < 0.5 ? flipBits(file, 0, file.length) : file.subarray(0, below(file.length))))).toBe(0);
});

test('flipped bits anywhere, with a new checksum', () => {
  fuzz(() => seal(flipBits(file.subarray(0, -16), 0, file.length - 16)));
});

test('flipped bits in the sections, with a new checksum', () => {
  const parts = takeApart(file);
  const survivors = fuzz(() => putTogether({ ...parts, sections: flipBits(parts.sections, 0, parts.sections.length) }));
  // Otherwise this fuzzes the checksum's test and not the decoder.
  expect(survivors).toBeGreaterThan(0);
  expect(survivors).toBeLessThan(ROUNDS);
});

test('edited headers', () => {
  const survivors = fuzz(() => {
    const parts = takeApart(file);
    for (let i = 0; i <= below(3); i++) mutateValue(parts.header);
    return putTogether(parts);
  });
  expect(survivors).toBeGreaterThan(0);
  expect(survivors).toBeLessThan(ROUNDS);
});

test('the text of the header, damaged', () => {
  fuzz(() => {
    const { header, sections } = takeApart(file);
    const json = Buffer.from(JSON.stringify(header));
    return putTogether({ header: flipBits(json, 0, json.length), sections });
  });
});

test('random sections under headers that fit them', () => {
  const survivors = fuzz(() => {
    const shape = [1 + below(40), 1 + below(40)];
    const weights = shape[0]! * shape[1]!;
    const byteLength = pick([Math.ceil(weights / 8), below(Math.ceil(weights / 8))]);
    const coding = pick([{ coding: 'bitmap' }, { coding: 'golomb', parameter: 1 + below(pick([4, 100, 2 ** 23])) }]);
    const tensor = { name: 'w', shape, count: below(weights + 1), byteLength, ...coding };
    const subjects = [{ identifier: 'V1*', token: 'ktn', category: 'cat' }];
    const header = { fingerprint: 'x', subjects, method: 'x', steps: 0, engineVersion: 'x', tensors: [tensor] };
    const zeros = random() < 0.5;
    return putTogether({ header, sections: Buffer.from(Array.from({ length: byteLength }, () => (zeros ? 0 : below(256)))) });
  });
  expect(survivors).toBeGreaterThan(0);
});

test('a few bytes cannot claim millions of neurons', () => {
  const tensors = [...Array(8).keys()].map((i) => ({ name: `w${i}`, shape: [2 ** 31], count: 2 ** 31, byteLength: 1, coding: 'golomb', parameter: 1 }));
  const { header } = takeApart(file);
  const claim = putTogether({ header: { ...header, subjects: [{ identifier: 'V1*', token: 'ktn', category: 'cat' }], tensors }, sections: Buffer.alloc(8, 0xff) });
  const before = process.memoryUsage().arrayBuffers;
  expect(codeOf(() => Concept.fromBuffer(claim)).code).toBe('CONES_CONCEPT_CORRUPT');
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 ** 24);
});
