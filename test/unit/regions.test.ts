// Where subjects are: weights of regions against arithmetic by hand, and what the prompt's words say.
import type { Concept, Subject } from '../../lib';
import { placeSubjects, readRegions, regionsOption, regionsText, rowsOf, type Regions } from '../../lib/engine/regions';
import { mentions, withoutIdentifiers } from '../../lib/text/prompt';
import { placeByWords } from '../../lib/text/relations';

const subject = (identifier: string, category: string): Subject => ({ identifier, category, token: identifier.toLowerCase() });
const cat = subject('V1*', 'cat');
const owl = subject('V2*', 'owl');
const dog = subject('V3*', 'dog');
const conceptOf = (...subjects: Subject[]) => ({ subjects }) as unknown as Concept;
const [catConcept, owlConcept, dogConcept] = [conceptOf(cat), conceptOf(owl), conceptOf(dog)];
const drawn = { prompt: 'a V1* cat next to a V2* owl and a V3* dog', negativePrompt: 'a V2* dog', concepts: [catConcept, owlConcept, dogConcept] };

function rows(regions: Regions, { feather = 0, regionPrompt = 'own', latent = { height: 2, width: 4 }, ...rest }: Partial<typeof drawn> & { feather?: number; regionPrompt?: 'own' | 'whole'; latent?: { height: number; width: number } } = {}) {
  const picture = { ...drawn, ...rest };
  return rowsOf(picture, placeSubjects(regions, picture, latent), { feather, regionPrompt }, latent);
}

test('each place has its own concept and text; what is placed nowhere acts everywhere', () => {
  const [left, right, rest, ...more] = rows({ 'v1*': [0, 0, 0.25, 1], 'V2*': [[0.75, 0, 1, 1]] });
  expect(more).toEqual([]);
  expect(left).toMatchObject({ prompt: 'a V1* cat next to an owl and a V3* dog', negativePrompt: 'a dog', concepts: [catConcept, dogConcept], subjects: [cat, dog] });
  expect(right).toMatchObject({ prompt: 'a cat next to a V2* owl and a V3* dog', negativePrompt: 'a V2* dog', concepts: [owlConcept, dogConcept], subjects: [owl, dog] });
  expect(rest).toMatchObject({ prompt: 'a cat next to an owl and a V3* dog', negativePrompt: 'a dog', concepts: [dogConcept], subjects: [dog] });
  expect([left, right, rest].map((row) => [...row!.weights!.subarray(0, 4)])).toEqual([[1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 1, 0]]);
});

test('the whole prompt, where it is asked for', () => {
  const [left] = rows({ 'V1*': [0, 0, 0.5, 1] }, { regionPrompt: 'whole' });
  expect(left).toMatchObject({ prompt: drawn.prompt, concepts: [catConcept, owlConcept, dogConcept], subjects: [cat, owl, dog] });
});

test('overlaps share a position, and parts of it are parts', () => {
  const [left, right, ...more] = rows({ 'V1*': [0, 0, 0.75, 1], 'V2*': [0.375, 0, 1, 1] });
  expect(more).toEqual([]);
  // Of the second column half is of the second region, too.
  [1, 1 / 1.5, 0.5, 0].forEach((weight, x) => {
    expect(left!.weights![x]).toBeCloseTo(weight, 6);
    expect(right!.weights![x]).toBeCloseTo(1 - weight, 6);
  });
});

test('a seam is a ramp as wide as the feather, and its weights add up to 1', () => {
  const [left, right, ...more] = rows({ 'V1*': [0, 0, 0.5, 1], 'V2*': [0.5, 0, 1, 1] }, { feather: 0.5, latent: { height: 1, width: 8 } });
  expect(more).toEqual([]);
  // The mean over four columns about the middle of each.
  [1, 1, 7 / 8, 5 / 8, 3 / 8, 1 / 8, 0, 0].forEach((weight, x) => {
    expect(left!.weights![x]).toBeCloseTo(weight, 6);
    expect(left!.weights![x]! + right!.weights![x]!).toBeCloseTo(1, 6);
  });
});

test.each<[string, Regions]>([
  ['a box', { 'V1*': [0, 0, 1, 1] }],
  ['two', { 'V1*': [[0, 0, 0.3, 1], [0.3, 0, 1, 1]] }],
  ['a bitmap', { 'V1*': { width: 3, height: 2, data: new Uint8Array(6).fill(255) } }],
])('everywhere it is the plain picture: %s', (_, regions) => {
  const only = rows(regions, { feather: 0.3, prompt: 'a V1* cat', negativePrompt: '', concepts: [catConcept] });
  expect(only).toEqual([{ prompt: 'a V1* cat', negativePrompt: '', concepts: [catConcept], subjects: [cat] }]);
});

test('a bitmap of any size is stretched over the picture', () => {
  const left = Float32Array.of(1, 1, 0, 0, 0, 0.5);
  const [inside] = rows({ 'V1*': { width: 2, height: 3, data: left } }, { latent: { height: 1, width: 2 } });
  expect([...inside!.weights!].map((weight) => Math.round(255 * weight))).toEqual([85, 128]);
});

test('regions in a picture file say the same', () => {
  const latent = { height: 2, width: 4 };
  const regions: Regions = { 'V1*': [0, 0, 0.3, 1], 'V2*': { width: 5, height: 1, data: Uint8Array.of(0, 9, 255, 7, 1) } };
  const placed = placeSubjects(regions, drawn, latent);
  expect(placeSubjects(readRegions(regionsText(placed)), drawn, latent)).toEqual(placed);
});

test.each(['', '[]', '{}', 'null', '{"V1*":[[0,0,2,1]]}', '{"V1*":{"width":2,"height":2,"data":"AAAA"}}', '{"V1*":{"width":1,"height":1,"data":7}}', `"${' '.repeat(2 ** 22)}"`])('is no text of regions (%#)', (text) => {
  expect(readRegions(text)).toBeUndefined();
});

test.each<[string, unknown]>([
  ['a point', { 'V1*': [0.5, 0, 0.5, 1] }], ['three numbers', { 'V1*': [0, 0, 1] }], ['outside', { 'V1*': [-0.1, 0, 1, 1] }], ['none', {}], ['too many', Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`V${i}*`, [0, 0, 1, 1]]))],
  ['a short bitmap', { 'V1*': { width: 2, height: 2, data: new Uint8Array(3) } }], ['above 1', { 'V1*': { width: 1, height: 1, data: Float32Array.of(2) } }], ['NaN', { 'V1*': { width: 1, height: 1, data: Float32Array.of(NaN) } }], ['a word', 'left'],
])('are no regions: %s', (_, regions) => expect(regionsOption.safeParse(regions).success).toBe(false));

test('an identifier that nobody has', () => {
  expect(() => rows({ 'V9*': [0, 0, 1, 1] })).toThrow(expect.objectContaining({ code: 'CONES_OPTION_INVALID', message: expect.stringContaining('V9*') as string }) as Error);
});

describe('the words of a prompt', () => {
  const [left, right]: [object, object] = [[0, 0, 0.5, 1], [0.5, 0, 1, 1]];
  const [upper, lower]: [object, object] = [[0, 0, 1, 0.5], [0, 0.5, 1, 1]];
  test.each<[string, object, object]>([
    ['a V1* cat next to a V2* owl', left, right], ['a V2* owl and a V1* cat', right, left], ['a V1* cat to the left of a V2* owl', left, right], ['a V1* cat to the right of a V2* owl', right, left],
    ['a V1* cat above a V2* owl', upper, lower], ['a V2* owl on top of a V1* cat', lower, upper], ['a V1* cat under a V2* owl', lower, upper],
  ])('%s', (prompt, first, second) => expect([...placeByWords(prompt, [cat, owl, dog], 7)].sort((a, b) => (a[0].identifier < b[0].identifier ? -1 : 1))).toEqual([[cat, first], [owl, second]]));

  test('three are columns, in the order in which they stand', () => {
    const placed = placeByWords('a V1* cat to the right of a V2* owl, and a V3* dog', [cat, owl, dog], 7);
    expect([...placed.keys()]).toEqual([owl, cat, dog]);
    expect(placed.get(cat)).toEqual([1 / 3, 0, 2 / 3, 1]);
  });

  test('one alone has no place, nor have too many', () => {
    expect(placeByWords('a V1* cat and a dog', [cat, owl], 7).size).toBe(0);
    expect(placeByWords('V1* V2* V3*', [cat, owl, dog], 2).size).toBe(0);
  });
});

test('identifiers are taken out of a text with what they did to its articles', () => {
  const longer = subject('V1*-old', 'cat');
  const without = (text: string) => withoutIdentifiers(text, [cat, owl, longer], [cat, owl]);
  expect(without('A V2* owl, an V1*-old cat, the V1* cat and V2*')).toBe('An owl, an V1*-old cat, the cat and ');
  expect(mentions('V1*-old, v2* and V2*', [cat, owl, longer]).map(({ subject: { identifier }, start }) => [identifier, start])).toEqual([['V1*-old', 0], ['V2*', 9]]);
});
