import { decodeBitmap, encodeBitmap } from '../../lib/concept-file/bitmap';
import { float16Bits, fromFloat16Bits } from '../../lib/concept-file/float16';
import { decodeGolomb, encodeGolomb, MAX_DIVISOR } from '../../lib/concept-file/golomb';
import { codeOf, mulberry32, randomIndices } from './concept-samples';

/** Golomb's code word, first bit first, as a textbook gives it: unary quotient (zeros, then a one), truncated binary remainder. */
function codeWord(gap: number, divisor: number): string {
  const width = Math.ceil(Math.log2(divisor));
  const cutoff = 2 ** width - divisor;
  const remainder = gap % divisor;
  const msbFirst = (value: number, bits: number) => (bits === 0 ? '' : value.toString(2).padStart(bits, '0'));
  const reverse = (bits: string) => [...bits].reverse().join('');
  const unary = '0'.repeat(Math.floor(gap / divisor)) + '1';
  if (divisor === 1) return unary;
  if (cutoff === 0) return unary + reverse(msbFirst(remainder, width)); // a power of two: plain binary, lowest bit first
  if (remainder < cutoff) return unary + reverse(msbFirst(remainder, width - 1));
  const long = msbFirst(remainder + cutoff, width);
  return unary + reverse(long.slice(0, -1)) + long.slice(-1);
}

function referenceStream(indices: readonly number[], divisor: number): Buffer {
  let bits = indices.map((index, i) => codeWord(i ? index - indices[i - 1]! - 1 : index, divisor)).join('');
  bits = bits.padEnd(Math.ceil(bits.length / 8) * 8, '0');
  return Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => parseInt([...byte].reverse().join(''), 2)));
}

test('the decoder reads what the textbook code writes, for every small divisor and the largest', () => {
  const random = mulberry32(1);
  for (const divisor of [...Array(70).keys()].map((i) => i + 1).concat(MAX_DIVISOR - 1, MAX_DIVISOR)) {
    const weights = 40 * divisor + 1000;
    const indices = [...randomIndices(weights, 1 / (2 * divisor + 3), random)];
    const decoded = decodeGolomb(referenceStream(indices, divisor), indices.length, weights, divisor, 'w');
    expect([...decoded]).toEqual(indices);
  }
});

test.each([[1e5, 0.001], [1e5, 0.0132], [5e4, 0.0701], [2e4, 0.2], [3e4, 0.37]])('the encoder writes the textbook code (%d weights, density %d)', (weights, density) => {
  const indices = randomIndices(weights, density, mulberry32(2));
  const { divisor, bytes } = encodeGolomb(indices, weights, Infinity)!;
  expect(Buffer.from(bytes)).toEqual(referenceStream([...indices], divisor));
});

test('the divisor chosen is within half a per cent of the best one', () => {
  const random = mulberry32(3);
  const uniform = randomIndices(4e4, 0.03, random);
  // Every tenth of 400 rows of 100 holds all neurons, so that gaps are far from geometric.
  const clustered = randomIndices(4e3, 0.3, random).map((i) => Math.floor(i / 100) * 1000 + (i % 100));
  for (const indices of [uniform, clustered]) {
    const lengths = [...Array(120).keys()].map((i) => referenceStream([...indices], i + 1).length);
    expect(encodeGolomb(indices, 4e4, Infinity)!.bytes.length).toBeLessThanOrEqual(1.005 * Math.min(...lengths));
  }
});

test('first, last and no weight', () => {
  for (const indices of [[], [0], [2 ** 31 - 1], [0, 2 ** 31 - 1], [2 ** 31 - 2, 2 ** 31 - 1]]) {
    const { divisor, bytes } = encodeGolomb(Uint32Array.from(indices), 2 ** 31, Infinity)!;
    expect([...decodeGolomb(bytes, indices.length, 2 ** 31, divisor, 'w')]).toEqual(indices);
  }
});

test('encoding gives up at the limit', () => {
  const indices = Uint32Array.from([1, 2, 3]);
  const { length } = encodeGolomb(indices, 64, Infinity)!.bytes;
  expect(encodeGolomb(indices, 64, length)).toBeNull();
  expect(encodeGolomb(indices, 64, length + 1)).not.toBeNull();
});

describe('a damaged Golomb stream is CONES_CONCEPT_CORRUPT:', () => {
  const stream = referenceStream([3, 9, 30], 4); // 15 bits: 1|11, 01|10 …
  const read = (bytes: Uint8Array, count: number, weights: number) => codeOf(() => decodeGolomb(bytes, count, weights, 4, 'w'));
  test.each([
    ['an index beyond the weight', () => read(stream, 3, 30), /index 30, but only 30 weights/],
    ['more neurons than its bits can hold', () => read(stream, 6, 64), /cannot hold/],
    ['fewer code words than neurons', () => read(stream, 4, 64), /break off/],
    ['a code word cut in its quotient', () => read(referenceStream([35], 4).subarray(0, 1), 1, 64), /break off/],
    ['a code word cut in its remainder', () => read(referenceStream([28], 4).subarray(0, 1), 1, 64), /break off/],
    ['a byte too many', () => read(Buffer.concat([stream, Buffer.alloc(1)]), 3, 64), /belong to none/],
    ['a set bit after the last', () => read(Buffer.concat([stream.subarray(0, -1), Buffer.of(stream.at(-1)! | 0x80)]), 3, 64), /belong to none/],
    ['an endless quotient', () => read(Buffer.alloc(1000), 3, 2 ** 31), /break off/],
    ['bytes for no neurons', () => read(Buffer.alloc(1), 0, 64), /belong to none/],
  ])('%s', (_, attempt, message) => {
    expect(attempt()).toMatchObject({ code: 'CONES_CONCEPT_CORRUPT', message: expect.stringMatching(message) as unknown });
  });
});

test('a bitmap has bit i mod 8 of byte i / 8', () => {
  expect([...encodeBitmap(Uint32Array.of(0, 9, 10, 15), 17)]).toEqual([0b1, 0b10000110, 0]);
  expect([...decodeBitmap(Uint8Array.of(0b1, 0b10000110, 0), 4, 17, 'w')]).toEqual([0, 9, 10, 15]);
});

test.each([
  ['fewer', 5, /claims 5 neurons, but its bitmap has 4/],
  ['more', 3, /claims 3 neurons, but its bitmap has 4/],
])('a bitmap with %s neurons than claimed is corrupt', (_, count, message) => {
  const error = codeOf(() => decodeBitmap(Uint8Array.of(0b1, 0b10000110, 0), count, 17, 'w'));
  expect(error).toMatchObject({ code: 'CONES_CONCEPT_CORRUPT', message: expect.stringMatching(message) as unknown });
});

test('a bitmap with a neuron after the last weight is corrupt', () => {
  expect(codeOf(() => decodeBitmap(Uint8Array.of(0, 0, 0b10), 1, 17, 'w')).code).toBe('CONES_CONCEPT_CORRUPT');
});

test('halves: known patterns (IEEE 754), every finite pattern there and back, nearest with ties to even', () => {
  const known: [number, number][] = [[0, 0], [-0, 0x8000], [1, 0x3c00], [-2, 0xc000], [65504, 0x7bff], [2 ** -14, 0x0400], [2 ** -24, 1], [1 / 3, 0x3555]];
  for (const [value, bits] of known) expect(float16Bits(value)).toBe(bits);
  const finite = [...Array(0x10000).keys()].filter((bits) => (bits & 0x7c00) !== 0x7c00);
  expect(finite.filter((bits) => float16Bits(fromFloat16Bits(bits)) !== bits)).toEqual([]);
  // Half-way points go to the even pattern; a little off them, to the nearer one.
  for (let bits = 0; bits < 0x7bff; bits += 97) {
    const middle = (fromFloat16Bits(bits) + fromFloat16Bits(bits + 1)) / 2;
    expect(float16Bits(middle)).toBe(bits % 2 ? bits + 1 : bits);
    expect(float16Bits(middle * (1 + 2 ** -20))).toBe(bits + 1);
    expect(float16Bits(middle * (1 - 2 ** -20))).toBe(bits);
  }
  expect([float16Bits(65519), float16Bits(65520), float16Bits(-Infinity), float16Bits(NaN)]).toEqual([0x7bff, 0x7c00, 0xfc00, 0x7e00]);
});
