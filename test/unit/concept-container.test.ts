import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Concept } from '../../lib/concept';
import { cat, codeOf, conceptOf, mulberry32, putTogether, randomIndices, seal, takeApart, tensor } from './concept-samples';

test('the example of docs/reference/concept-file.md is what the text says', () => {
  const doc = readFileSync(path.join(__dirname, '../../docs/reference/concept-file.md'), 'utf8');
  const dump = /```hex\n([^`]+)```/.exec(doc)![1]!;
  const hex = dump.trimEnd().split('\n').map((line) => line.slice(6, 6 + 47)).join(' ');
  const concept = Concept.fromBuffer(Buffer.from(hex.replace(/\s/g, ''), 'hex'));
  const expected = conceptOf({
    fingerprint: 'sha256:00ff',
    subjects: [{ ...cat.subjects[0]!, embedding: { dtype: 'float16', values: Float32Array.of(1, -0.5) } }],
    tensors: new Map([['k', tensor([4, 8], [3, 9, 30])], ['v', tensor([2, 4], [0, 1, 2, 4, 5, 7])]]),
  });
  expect(concept).toEqual(expected);
});

/** [name, [out, in]] of SD 1.4's 64 K-V weights. */
function sd14Weights(): [string, number[]][] {
  const channels = [320, 320, 640, 640, 1280, 1280, 1280, 1280, 1280, 1280, 640, 640, 640, 320, 320, 320];
  const blocks = [
    ...[0, 1, 2].flatMap((level) => [0, 1].map((i) => `down_blocks.${level}.attentions.${i}`)),
    'mid_block.attentions.0',
    ...[1, 2, 3].flatMap((level) => [0, 1, 2].map((i) => `up_blocks.${level}.attentions.${i}`)),
  ];
  return blocks.flatMap((block, i) =>
    ['attn1.to_k', 'attn1.to_v', 'attn2.to_k', 'attn2.to_v'].map((projection): [string, number[]] => [
      `${block}.transformer_blocks.0.${projection}.weight`,
      [channels[i]!, projection.startsWith('attn1') ? channels[i]! : 768],
    ]),
  );
}

/** log2 n! by Stirling's series, exact to 1e-9 from n = 16 on. */
function log2Factorial(n: number): number {
  return ((n + 0.5) * Math.log(n) - n + 0.5 * Math.log(2 * Math.PI) + 1 / (12 * n) - 1 / (360 * n ** 3)) / Math.LN2;
}

describe('on masks over the 43,950,080 K-V weights of SD 1.4', () => {
  test.each([0.0132, 0.0243, 0.0454, 0.0701])('every section, and the whole file, is within 2 %% of the entropy bound (density %d)', (density) => {
    const random = mulberry32(1e4 * density);
    const weights = sd14Weights();
    const concept = conceptOf({ tensors: new Map(weights.map(([name, shape]) => [name, { shape, indices: randomIndices(shape[0]! * shape[1]!, density, random) }])) });
    expect(concept.weightCount).toBe(43_950_080);
    const file = concept.toBuffer();
    let total = 0;
    for (const { shape, neuronCount, byteLength } of concept.info().tensors) {
      const n = shape[0]! * shape[1]!;
      // No code for the C(n, k) sets of k neurons can do with fewer bits on average.
      const bound = (log2Factorial(n) - log2Factorial(neuronCount) - log2Factorial(n - neuronCount)) / 8;
      expect(byteLength).toBeLessThanOrEqual(1.02 * bound);
      total += bound;
    }
    expect(file.length).toBeLessThanOrEqual(1.02 * total);
    if (density === 0.0132) expect(file.length).toBeLessThanOrEqual(0.57e6);
    expect(Concept.fromBuffer(file).equals(concept)).toBe(true);
  });
});

describe('a file that is not whole', () => {
  const file = conceptOf().toBuffer();
  const edited = (edit: (copy: Buffer) => void) => {
    const copy = Buffer.from(file);
    edit(copy);
    return copy;
  };
  test.each([
    ['is empty', Buffer.alloc(0), /not a concept file/],
    ['is something else', Buffer.from('PNG, say, of some length or other'), /not a concept file/],
    ['went through a text-mode transfer', Buffer.from(file.toString('latin1').replace('\r\n', '\n'), 'latin1'), /not a concept file/],
    ['breaks off in the prefix', file.subarray(0, 15), /breaks off after 15 bytes/],
    ['breaks off', file.subarray(0, -1), new RegExp(`breaks off after ${file.length - 1} of ${file.length} bytes`)],
    ['goes on', Buffer.concat([file, Buffer.alloc(2)]), /2 bytes follow/],
    ['is of a later version', edited((copy) => copy.writeUInt32LE(2, 8)), /version 2.*update cones/],
    ['claims a header beyond its end', edited((copy) => copy.writeUInt32LE(0xffffffff, 12)), /breaks off/],
    ['has a flipped bit', edited((copy) => (copy[copy.length - 20]! ^= 1)), /checksum does not match/],
    ['has another checksum', edited((copy) => (copy[copy.length - 1]! ^= 1)), /checksum does not match/],
  ])('%s', (_, bytes, message) => {
    const error = codeOf(() => Concept.fromBuffer(bytes));
    expect(error).toMatchObject({ code: 'CONES_CONCEPT_CORRUPT', message: expect.stringMatching(message) as unknown });
  });
});

describe('a lying header with a right checksum', () => {
  type Entry = Record<string, unknown>;
  const entries = (header: Record<string, unknown>) => header.tensors as Entry[];
  const subject = (header: Record<string, unknown>) => (header.subjects as Entry[])[0]!;

  test('(this test’s own writer agrees with the library)', () => {
    expect(Concept.fromBuffer(putTogether(takeApart(conceptOf().toBuffer())))).toEqual(conceptOf());
  });

  test.each<[string, (header: Record<string, unknown>) => void, RegExp]>([
    ['lacks the fingerprint', (h) => delete h.fingerprint, /fingerprint/],
    ['has no tensors', (h) => (h.tensors = []), /tensors/],
    ['has tensors that are no array', (h) => (h.tensors = { length: 1e9 }), /tensors/],
    ['has one name twice', (h) => (entries(h)[1]!.name = entries(h)[0]!.name), /names must differ/],
    ['has a name that clears the screen', (h) => (entries(h)[0]!.name = '\x1b[2J'), /control characters/],
    ['has a name that is read backwards', (h) => (h.method = 'a\u202eb'), /control characters/],
    ['has a name of 257 code units in 129 characters', (h) => (h.method = `x${'🐈'.repeat(128)}`), /at most 256/],
    ['has a shape of zero', (h) => (entries(h)[0]!.shape = [0, 128]), /shape/],
    ['has a negative shape', (h) => (entries(h)[0]!.shape = [-8, -16]), /shape/],
    ['has a shape too large', (h) => (entries(h)[0]!.shape = [2 ** 31, 2]), /at most 2147483648/],
    ['has a shape of too many numbers', (h) => (entries(h)[0]!.shape = [1, 1, 1, 8, 16]), /shape/],
    ['has too many weights', (h) => (h.tensors = [...Array(9).keys()].map((i) => ({ ...entries(h)[1]!, name: `w${i}`, shape: [2 ** 31] }))), /at most 17179869184/],
    ['claims more neurons than weights', (h) => (entries(h)[0]!.count = 129), /no more neurons/],
    ['claims more neurons than bits', (h) => Object.assign(entries(h)[0]!, { count: 100 }), /cannot hold/],
    ['claims fewer neurons', (h) => (entries(h)[0]!.count = 1), /belong to none/],
    ['claims a fraction of a neuron', (h) => (entries(h)[0]!.count = 4.5), /count/],
    ['has a weight too small for its neurons', (h) => (entries(h)[0]!.shape = [1, 100]), /index 127, but only 100/],
    ['claims more bytes than there are', (h) => (entries(h)[0]!.byteLength = 200), /claims 20\d bytes of sections/],
    ['claims fewer bytes than there are', (h) => (entries(h)[2]!.byteLength = 1), /bytes of sections/],
    ['shifts bytes from a bitmap to gaps', (h) => Object.assign(entries(h)[2]!, { byteLength: 1 }) && (entries(h)[1]!.byteLength = 1), /belong to none/],
    ['has gaps longer than a bitmap', (h) => Object.assign(entries(h)[2]!, { coding: 'golomb', parameter: 1 }), /where a bitmap would take 2/],
    ['has a bitmap of another length', (h) => (entries(h)[2]!.shape = [4, 5]), /instead of 3/],
    ['has an unknown coding', (h) => (entries(h)[0]!.coding = 'rle'), /coding/],
    ['lacks the divisor', (h) => delete entries(h)[0]!.parameter, /parameter/],
    ['has a divisor of zero', (h) => (entries(h)[0]!.parameter = 0), /parameter/],
    ['has a divisor too large', (h) => (entries(h)[0]!.parameter = 2 ** 23 + 1), /parameter/],
    ['has no subjects', (h) => (h.subjects = []), /subjects/],
    ['has a subject twice', (h) => (h.subjects = [subject(h), subject(h)]), /identifiers must differ/],
    ['has an embedding without bytes', (h) => (subject(h).embedding = { dtype: 'float16', length: 8 }), /bytes of sections/],
    ['has an embedding of another type', (h) => (subject(h).embedding = { dtype: 'int8', length: 0 }), /dtype/],
    ['has a report that is no object', (h) => (h.report = 'good'), /report/],
    ['has a report that is null', (h) => (h.report = null), /report/],
    ['has a report that is an array', (h) => (h.report = []), /report/],
    ['has a report nested too deeply', (h) => (h.report = { a: JSON.parse('['.repeat(31) + ']'.repeat(31)) as unknown }), /nested more than 32/],
  ])('%s', (_, edit, message) => {
    const { header, sections } = takeApart(conceptOf().toBuffer());
    edit(header);
    const error = codeOf(() => Concept.fromBuffer(putTogether({ header, sections })));
    expect(error).toMatchObject({ code: 'CONES_CONCEPT_CORRUPT', message: expect.stringMatching(message) as unknown });
  });

  test.each([
    ['is no JSON', Buffer.from('{"a":')],
    ['is no object', Buffer.from('null')],
    ['is no UTF-8', Buffer.from([0x22, 0xff, 0x22])],
    ['begins with a byte order mark', Buffer.concat([Buffer.from('efbbbf', 'hex'), Buffer.from('{}')])],
    ['unpacks to 64 times what is allowed', Buffer.alloc(2 ** 26, 0x20)],
    ['is nested a million deep', Buffer.from('['.repeat(2 ** 20 - 1))],
    ['is a string of a million escapes without end', Buffer.from('"' + '\\"'.repeat(2 ** 19 - 1))],
  ])('%s', (_, json) => {
    expect(codeOf(() => Concept.fromBuffer(putTogether({ header: json, sections: Buffer.alloc(0) }))).code).toBe('CONES_CONCEPT_CORRUPT');
  });

  test('is no DEFLATE stream', () => {
    const file = conceptOf().toBuffer();
    file.fill(0xff, 20, 40);
    expect(codeOf(() => Concept.fromBuffer(seal(file.subarray(0, -16)))).code).toBe('CONES_CONCEPT_CORRUPT');
  });

  test('is a DEFLATE stream and more', () => {
    const file = conceptOf().toBuffer();
    const end = 20 + file.readUInt32LE(12);
    const longer = Buffer.concat([file.subarray(0, end), Buffer.from('more'), file.subarray(end, -16)]);
    longer.writeUInt32LE(end - 20 + 4, 12);
    expect(codeOf(() => Concept.fromBuffer(seal(longer)))).toMatchObject({ code: 'CONES_CONCEPT_CORRUPT', message: expect.stringMatching(/4 bytes follow/) as unknown });
  });

  test('has an embedding that is not finite', () => {
    const { header, sections } = takeApart(conceptOf().toBuffer());
    subject(header).embedding = { dtype: 'float16', length: 1 };
    const file = putTogether({ header, sections: Buffer.concat([sections, Buffer.from('007c', 'hex')]) });
    expect(codeOf(() => Concept.fromBuffer(file))).toMatchObject({ code: 'CONES_CONCEPT_CORRUPT', message: expect.stringMatching(/not finite/) as unknown });
  });
});

test('keys that a reader does not know are ignored', () => {
  const { header, sections } = takeApart(conceptOf().toBuffer());
  const file = putTogether({ header: { ...header, later: 1 }, sections });
  expect(Concept.fromBuffer(file)).toEqual(conceptOf());
});
