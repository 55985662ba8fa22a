import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { Subject } from '../../lib/concept-file/types';
import {
  freeToken,
  indefiniteArticle,
  joinSubjects,
  priorCaption,
  RARE_TOKENS,
  readRareTokens,
  resolvePrompt,
  resolveText,
  subjectCaption,
} from '../../lib/text/prompt';

const cat: Subject = { identifier: 'V1*', token: 'sks', category: 'cat' };
const pot: Subject = { identifier: 'V2*', token: 'ucd', category: 'pot' };
const mine: Subject = { identifier: '<my-cat>', token: 'mth', category: 'cat' };
const odd: Subject = { identifier: 'a.b|c', token: 'pll', category: 'cup' };
const plain: Subject = { identifier: 'tom', token: 'rcn', category: 'cat' };

const code = (run: () => unknown): unknown => {
  try {
    return run();
  } catch (error) {
    return (error as { code?: string }).code;
  }
};

describe('resolvePrompt', () => {
  test.each([
    ['a V1* cat in a V2* pot', 'a sks cat in a ucd pot'],
    ['V1*', 'sks'],
    ['a v1* cat', 'a sks cat'],
    ['a V1*cat', 'a sks cat'],
    ["V1*'s bowl, V1*, (V2*)", "sks's bowl, sks, (ucd)"],
    ['a <my-cat> on a <MY-CAT>', 'a mth on a mth'],
    ['black<my-cat>sleeps', 'black mth sleeps'],
    ['an a.b|c cup, not axb|c or c', 'an pll cup, not axb|c or c'],
    ['tom and tomato, atom, Tom.', 'rcn and tomato, atom, rcn.'],
    ['AV1* is no identifier', 'AV1* is no identifier'],
    ['no identifier', 'no identifier'],
  ])('%s', (prompt, text) => {
    const resolved = resolvePrompt(prompt, [cat, pot, mine, odd, plain]);
    expect(resolved.text).toBe(text);
    expect(resolved.warnings).toEqual([]);
  });

  test('a token that is itself an identifier is not replaced again', () => {
    const swapped = [{ ...plain, identifier: 'x', token: 'y' }, { ...plain, identifier: 'y', token: 'x' }];
    expect(resolvePrompt('x y', swapped).text).toBe('y x');
  });

  test('a prompt of a megabyte', () => {
    // Compared so that a failure does not print it.
    expect(resolvePrompt('V1*'.repeat(300_000), [cat]).text === `${'sks '.repeat(299_999)}sks`).toBe(true);
    const { warnings } = resolvePrompt(Array.from({ length: 300_000 }, (_, i) => `V${i >> 1}*`).join(' '), [cat]);
    expect(warnings).toHaveLength(16);
    expect(new Set(warnings.map(({ message }) => message)).size).toBe(16);
  });

  test('the longest identifier wins', () => {
    const old: Subject = { identifier: 'V1*-old', token: 'hta', category: 'cat' };
    expect(resolvePrompt('a V1*-old cat and a V1* cat', [cat, old]).text).toBe('a hta cat and a sks cat');
  });

  test('tells which subjects are named', () => {
    expect(resolvePrompt('a V2* pot', [cat, pot]).used).toEqual([pot]);
  });

  test('an unknown identifier is a warning, and stays', () => {
    const { text, warnings } = resolvePrompt('a V9* cat and <your-dog>', [cat]);
    expect(text).toBe('a V9* cat and <your-dog>');
    expect(warnings.map((w) => w.code)).toEqual(['unknown-identifier', 'unknown-identifier']);
    expect(warnings[0]!.message).toContain('"V9*"');
    expect(warnings[0]!.message).toContain('V1*');
  });

  test('two named subjects with one token are a warning', () => {
    const twin = { ...pot, token: 'sks' };
    expect(resolvePrompt('V1* and V2*', [cat, twin]).warnings.map((w) => w.code)).toEqual(['shared-token']);
    expect(resolvePrompt('only V1*', [cat, twin]).warnings).toEqual([]);
  });

  test('but not where one of them has a learned embedding: it stands for its subject alone', () => {
    const learned: Subject = { ...pot, token: 'sks', embedding: { dtype: 'float32', values: Float32Array.of(1) } };
    expect(resolvePrompt('V1* and V2*', [cat, learned]).warnings).toEqual([]);
    expect(resolvePrompt('V1* and V2*', [{ ...learned, identifier: 'V1*' }, learned]).warnings).toEqual([]);
  });

  test('its pieces tell which of the rare words stand for which subject', () => {
    const twin = { ...pot, token: 'sks' };
    const { text, pieces } = resolvePrompt('sks, V1*cat and V2*', [cat, twin]);
    expect(text).toBe('sks, sks cat and sks');
    expect(pieces).toEqual([{ text: 'sks, ' }, { text: 'sks', subject: cat }, { text: ' cat and ' }, { text: 'sks', subject: twin }, { text: '' }]);
  });

  describe('Unicode', () => {
    const [nfc, nfd] = ['é', 'é'.normalize('NFD')];
    test.each([
      [`tom${nfc}`, `a tom${nfd}!`, 'a rcn!'],
      [`tom${nfd}`, `a tom${nfc}!`, 'a rcn!'],
      [`<${nfd}>`, `a <${nfc.toUpperCase()}>`, 'a rcn'],
      ['tom', `tom${nfd} and tom\u0302, tom`, `tom${nfc} and tom\u0302, rcn`], // a longer word, with an accent that no letter has with m
      ['ΣΑΣ*', 'σας* σασ* ΣΑΣ*', 'rcn rcn rcn'], // one letter at the end of a word and elsewhere
      ['maſt*', 'MAST*', 'rcn'],
      ['maß*', 'mass* MAẞ*', 'mass* rcn'],
      ['kız*', 'kiz*', 'kiz*'],
    ])('%s in "%s"', (identifier, prompt, text) => {
      expect(resolvePrompt(prompt, [{ ...plain, identifier }])).toMatchObject({ text, warnings: [] });
    });

    test('one subject in either form is one, and two with one name are told', () => {
      const [a, b] = [nfc, nfd].map((identifier): Subject => ({ ...plain, identifier, category: identifier }));
      expect(joinSubjects([{ subjects: [a!] }, { subjects: [b!] }])).toEqual([a]);
      expect(code(() => joinSubjects([{ subjects: [a!] }, { subjects: [{ ...b!, token: 'ucd' }] }]))).toBe('CONES_OPTION_INVALID');
    });
  });

  test('two rare words that differ in case are one to the tokenizer', () => {
    expect(resolvePrompt('V1* and V2*', [cat, { ...pot, token: 'SKS' }]).warnings.map((w) => w.code)).toEqual(['shared-token']);
  });

  test("the tokenizer's own words are no unknown identifiers", () => {
    const isWord = (word: string) => word === '<toy>';
    expect(resolvePrompt('a <toy> and <boy>', [cat], isWord).warnings.map((w) => w.message)).toEqual([expect.stringContaining('"<boy>"')]);
  });

  test('a negative prompt may be empty', () => {
    expect(resolveText(' ', [cat])).toEqual({ text: ' ', pieces: [{ text: ' ' }], used: [], warnings: [] });
    expect(resolveText('no V1*', [cat])).toMatchObject({ text: 'no sks', used: [cat] });
  });

  test.each(['', '  \n', '\u0085\u00a0'])('an empty prompt (%j) is an error', (prompt) => {
    expect(code(() => resolvePrompt(prompt, [cat]))).toBe('CONES_PROMPT_EMPTY');
  });
});

describe('the syntax of weights', () => {
  const found = (prompt: string, subjects: Subject[] = []) =>
    resolvePrompt(prompt, subjects, (word) => word === '[toy]').warnings.filter(({ code: name }) => name === 'weighting-syntax').map(({ message }) => message);

  test.each([
    '((cat:1.3))', '(cat:1.2)', '(a red cat : .8)', '((cat))', '[cat]', '[cat:dog:0.5]', '[cat|dog]', '{{cat}}', '(cat)++', '(cat)1.3',
    '<lora:style:0.8>', '<LoRA:style>', '<hypernet:style:1>', '(V1*:1.2)',
  ])('%s is told', (example) => {
    expect(found(`a photo of ${example}, on the beach`, [cat])).toEqual([expect.stringContaining('is read as plain text')]);
  });

  test.each(['a cat (black)', 'a cat: the best', 'a photo (ratio 16:9)', 'at 10:30 (morning)', 'c++ and c--', ':) (:', 'a (cat) and a (dog)', 'f(x) = 2', '[toy]', 'a [V] cat'])('%s is text', (prompt) => {
    expect(found(prompt, [{ ...cat, identifier: '[V]' }])).toEqual([]);
  });

  test('is told once for a prompt, by its first three places', () => {
    const [message, ...more] = found('(a:1) (b:1) (c:1) (d:1) (a:1)');
    expect(more).toEqual([]);
    expect(['(a:1)', '(b:1)', '(c:1)', '(d:1)'].map((example) => message!.includes(example))).toEqual([true, true, true, false]);
  });
});

describe('joinSubjects', () => {
  test('every subject once', () => {
    expect(joinSubjects([{ subjects: [cat] }, { subjects: [pot, { ...cat }] }])).toEqual([cat, pot]);
  });

  const values = (...numbers: number[]): Pick<Subject, 'embedding'> => ({
    embedding: { dtype: 'float32', values: Float32Array.from(numbers) },
  });
  test.each([
    ['another token', { ...cat, token: 'ucd' }],
    ['another token, in another case', { ...cat, identifier: 'v1*', token: 'ucd' }],
    ['another embedding', { ...cat, ...values(1, 2) }],
    ['another category', { ...cat, category: 'dog' }],
  ])('one identifier with %s is an error', (_, other) => {
    expect(code(() => joinSubjects([{ subjects: [cat] }, { subjects: [other] }]))).toBe('CONES_OPTION_INVALID');
  });

  test('equal embeddings are no conflict', () => {
    const a = { ...cat, ...values(1, 2) };
    const b = { ...cat, ...values(1, 2) };
    expect(joinSubjects([{ subjects: [a] }, { subjects: [b] }])).toEqual([a]);
  });
});

describe('choosing names', () => {
  const lengths = { tokenId: (word: string) => (word.length <= 3 ? [...word].reduce((n, c) => n * 128 + c.charCodeAt(0), 0) : null) };

  test('freeToken skips what is taken and what is not one token', () => {
    expect(freeToken(lengths, ['long', 'abc', 'def'], [])).toBe('abc');
    expect(freeToken(lengths, ['long', 'abc', 'def'], ['abc'])).toBe('def');
    expect(() => freeToken(lengths, ['long', 'abc'], ['abc'])).toThrow(expect.objectContaining({ code: 'CONES_OPTION_INVALID', message: expect.stringMatching(/All 1 .*taken/) as string }));
    expect(() => freeToken(lengths, ['long'], [])).toThrow(expect.objectContaining({ code: 'CONES_OPTION_INVALID', message: expect.stringMatching(/none/) as string }));
  });

  test('every built-in rare token is one token of CLIP', () => {
    const merges = gunzipSync(readFileSync(path.join(__dirname, '../../models/clip-bpe/merges.txt.gz'))).toString('utf8');
    const tokens = new Set(merges.split('\n').map((line) => line.replace(' ', '')));
    expect(RARE_TOKENS.filter((token) => !tokens.has(`${token}</w>`))).toEqual([]);
    expect(new Set(RARE_TOKENS).size).toBe(RARE_TOKENS.length);
  });
});

describe('readRareTokens', () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(path.join(tmpdir(), 'cones-prompt-'))));
  afterEach(() => rmSync(folder, { recursive: true }));

  test('the built-in list where the model has none', async () => {
    expect(await readRareTokens(folder)).toBe(RARE_TOKENS);
  });

  test("the model's own", async () => {
    writeFileSync(path.join(folder, 'identifiers.json'), '{"identifiers": ["abc", "xyz"]}');
    expect(await readRareTokens(folder)).toEqual(['abc', 'xyz']);
  });

  test.each(['{}', '{"identifiers": []}', '{"identifiers": [7]}', '{"identifiers": ["two words"]}', '['])(
    '%s is an error',
    async (text) => {
      writeFileSync(path.join(folder, 'identifiers.json'), text);
      await expect(readRareTokens(folder)).rejects.toMatchObject({ code: 'CONES_CONFIG_INVALID' });
    },
  );
});

test('captions', () => {
  expect(subjectCaption('V1*', 'owl')).toBe('photo of a V1* owl');
  expect(priorCaption('cat')).toBe('photo of a cat');
  expect(priorCaption('orange cat')).toBe('photo of an orange cat');
});

test.each([
  ['an', ['apple', 'Elephant', 'igloo', 'owl', 'umbrella', 'hourglass', 'orangutan', 'uninvited guest', 'urn', 'ugly dog']],
  ['a', ['cat', 'unicorn', 'uniform', 'used car', 'European castle', 'one-eyed cat', 'house', 'ewe', 'ukulele', 'yacht', '']],
] as const)('%s', (article, phrases) => {
  expect(phrases.filter((phrase) => indefiniteArticle(phrase) !== article)).toEqual([]);
});
