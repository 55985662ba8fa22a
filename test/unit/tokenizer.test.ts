/** CLIP's tokenizer against ids of transformers' CLIPTokenizer (scripts/golden_tokenizer.py), and hostile files. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { Tokenizer } from '../../lib/text/tokenizer';

const LIMITS = { maxPositions: 77, vocabSize: 49408 };
const golden = JSON.parse(readFileSync(path.join(__dirname, '../goldens/tokenizer.json'), 'utf8')) as {
  texts: [string, number[]][];
};
const mergesText = gunzipSync(readFileSync(path.join(__dirname, '../../models/clip-bpe/merges.txt.gz'))).toString('utf8');

/** CLIP's vocabulary, as JSON. */
let vocabJson: string | undefined;
const clipVocabJson = (): string => (vocabJson ??= JSON.stringify(clipVocab()));

/** CLIP's vocabulary follows from its merges: byte symbols, the same ending a word, merges, special tokens. */
function clipVocab(): Record<string, number> {
  const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);
  const printable = [...range(33, 127), ...range(161, 173), ...range(174, 256)];
  const symbols = [...printable, ...range(256, 256 + 256 - printable.length)].map((c) => String.fromCharCode(c));
  const merged = mergesText.split('\n').slice(1).filter(Boolean).map((line) => line.replace(' ', ''));
  const tokens = [...symbols, ...symbols.map((s) => `${s}</w>`), ...merged, '<|startoftext|>', '<|endoftext|>'];
  return Object.fromEntries(tokens.map((token, id) => [token, id]));
}

const addedGolden = JSON.parse(readFileSync(path.join(__dirname, '../goldens/tokenizer-added.json'), 'utf8')) as {
  folders: { name: string; files: Record<string, object>; pad: number; texts: [string, number[]][] }[];
};

let folder: string;
beforeEach(() => (folder = mkdtempSync(path.join(tmpdir(), 'cones-tokenizer-'))));
afterEach(() => rmSync(folder, { recursive: true }));

function write(files: Record<string, unknown>): void {
  for (const [name, content] of Object.entries(files)) {
    writeFileSync(path.join(folder, name), typeof content === 'string' ? content : JSON.stringify(content));
  }
}

function clip(config: object = {}, map?: object): Promise<Tokenizer> {
  write({
    'vocab.json': clipVocabJson(),
    'merges.txt': mergesText,
    'tokenizer_config.json': { model_max_length: 77, ...config },
    ...(map && { 'special_tokens_map.json': map }),
  });
  return Tokenizer.load(folder, LIMITS);
}

/** A tokenizer.json with the letters a and b, as transformers writes it. */
function tinyJson(): Record<string, unknown> & { model: Record<string, unknown> } {
  return {
    added_tokens: [
      { id: 5, content: '<|startoftext|>' },
      { id: 6, content: '<|endoftext|>' },
    ],
    normalizer: {
      type: 'Sequence',
      normalizers: [{ type: 'NFC' }, { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' }, { type: 'Lowercase' }],
    },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        {
          type: 'Split',
          pattern: { Regex: "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+" },
          behavior: 'Removed',
          invert: true,
        },
        { type: 'ByteLevel' },
      ],
    },
    model: {
      type: 'BPE',
      end_of_word_suffix: '</w>',
      vocab: { a: 0, b: 1, 'a</w>': 2, 'b</w>': 3, 'ab</w>': 4 },
      merges: [['a', 'b</w>']],
    },
  };
}

test('ids equal those of transformers', async () => {
  const tokenizer = await clip();
  expect(golden.texts.length).toBeGreaterThan(300);
  const different = golden.texts.filter(([text, ids]) => {
    const { ids: ours, length } = tokenizer.encode(text);
    return JSON.stringify([...ours.subarray(0, length)]) !== JSON.stringify(ids);
  });
  expect(different.map(([text]) => text)).toEqual([]);
});

describe('special and added tokens, ids equal those of transformers', () => {
  test.each(addedGolden.folders.map((golden) => [golden.name, golden] as const))('%s', async (_, { files, pad, texts }) => {
    write({ 'vocab.json': clipVocabJson(), 'merges.txt': mergesText, ...files });
    const tokenizer = await Tokenizer.load(folder, { ...LIMITS, vocabSize: 49409 });
    const ours = texts.map(([text]) => [text, [...tokenizer.encode(text).ids]]);
    expect(ours).toEqual(texts.map(([text, ids]) => [text, [...ids, ...new Array<number>(77 - ids.length).fill(pad)]]));
  });

  test('in tokenizer.json', async () => {
    const json = tinyJson();
    (json['added_tokens'] as object[]).push({ id: 7, content: '<AB>', normalized: true });
    write({ 'tokenizer.json': json });
    const tokenizer = await Tokenizer.load(folder, { maxPositions: 8, vocabSize: 8 });
    const { ids, words, wordOfToken } = tokenizer.encode('a<ab>b');
    expect([...ids]).toEqual([5, 2, 7, 3, 6, 6, 6, 6]);
    expect(words).toHaveLength(3);
    expect([...wordOfToken]).toEqual([-1, 0, 1, 2, -1, -1, -1, -1]);
    expect(tokenizer.tokenId('<Ab>')).toBe(7);
  });
});

describe("textual inversion's words of several vectors", () => {
  /** As diffusers' load_textual_inversion and save_pretrained leave a tokenizer. */
  async function withWords(...words: string[]): Promise<Tokenizer> {
    const json = tinyJson();
    words.forEach((content, i) => (json['added_tokens'] as object[]).push({ id: 7 + i, content, normalized: true }));
    write({ 'tokenizer.json': json });
    return Tokenizer.load(folder, { maxPositions: 10, vocabSize: 7 + words.length });
  }

  // StableDiffusionPipeline.maybe_convert_prompt: "<ab>" becomes "<ab> <ab>_1 <ab>_2" for as many as there are.
  test.each([
    ['a <ab> b', [2, 7, 8, 9, 3]],
    ['<ab><ab>', [7, 8, 9, 7, 8, 9]],
    ['<AB>', [7, 8, 9]],
    ['<ab> <ab>_1 <ab>_2 b', [7, 8, 9, 3]], // written out
    ['<ab>_1', [8]],
    ['<b> a', [10, 2]], // one vector
  ])('%s', async (text, ids) => {
    const tokenizer = await withWords('<ab>', '<ab>_1', '<ab>_2', '<b>', '<b>_2');
    const { ids: ours, length } = tokenizer.encode(text);
    expect([...ours.subarray(1, length - 1)]).toEqual(ids);
  });

  test('are known as words, and are no single token', async () => {
    const tokenizer = await withWords('<ab>', '<ab>_1', '<b>');
    expect(['<ab>', '<AB>', '<ab> <b>', '<a>', 'a', 'a <ab>', ''].map((text) => tokenizer.hasWord(text))).toEqual([true, true, true, false, false, false, false]);
    expect([tokenizer.tokenId('<ab>'), tokenizer.tokenId('<b>')]).toEqual([null, 9]);
  });
});

test('a text becomes maxLength ids: BOS, tokens, EOS, padding', async () => {
  const { ids, length, words, wordOfToken, truncated } = (await clip()).encode('A  photo of a sks Supercalifragilistic cat!');
  expect(ids).toHaveLength(77);
  expect(ids[0]).toBe(49406);
  expect([...ids.subarray(length - 1)]).toEqual(new Array(77 - length + 1).fill(49407)); // EOS, then SD 1's padding
  expect(words).toEqual(['a', 'photo', 'of', 'a', 'sks', 'supercalifragilistic', 'cat', '!']);
  expect(truncated).toBe('');
  // One token a word, except the long one.
  const inner = [...wordOfToken.subarray(1, length - 1)];
  expect(inner.slice(0, 5)).toEqual([0, 1, 2, 3, 4]);
  expect(inner.filter((word) => word === 5).length).toBeGreaterThan(1);
  expect(inner.slice(-2)).toEqual([6, 7]);
  expect([wordOfToken[0], wordOfToken[length - 1], wordOfToken[76]]).toEqual([-1, -1, -1]);
});

test('text that does not fit is returned', async () => {
  const tokenizer = await clip();
  const fits = tokenizer.encode('word '.repeat(75));
  expect([fits.length, fits.truncated]).toEqual([77, '']);
  const cut = tokenizer.encode(`${'word '.repeat(74)}last, Then a Cafe\u0301 cat`);
  expect(cut.length).toBe(77);
  expect(cut.words.at(-1)).toBe('last');
  expect(cut.truncated).toBe(', then a café cat');
});

test('of a text in pieces every token has its piece, and words end between them', async () => {
  const tokenizer = await clip();
  const pieces = ['', 'a photo of ', 'sks', ' cat, ', '', 'sks', '.'];
  const { ids, pieceOfToken } = tokenizer.encode(pieces);
  expect([...ids]).toEqual([...tokenizer.encode(pieces.join('')).ids]);
  expect([...pieceOfToken.subarray(0, 11)]).toEqual([-1, 1, 1, 1, 2, 3, 3, 5, 6, -1, -1]);
  // Alone, these are a genitive and a letter with an accent.
  for (const text of ["'", '\u0301']) expect([...tokenizer.encode([text, 'sks', text]).ids]).toContain(tokenizer.tokenId('sks'));
  const many = (count: number): string[] => Array.from({ length: count }, (_, i) => (i % 2 ? 'sks' : ` ${'ABCDE'[i % 5]}  cat `));
  const [short, long] = [tokenizer.encode(many(1000)), tokenizer.encode(many(300_000))];
  expect([long.ids, long.pieceOfToken, long.words]).toEqual([short.ids, short.pieceOfToken, short.words]);
  expect(long.truncated.startsWith(short.truncated)).toBe(true);
  expect(long.truncated.endsWith(' d cat sks')).toBe(true);
});

test('a text of megabytes is the same as its beginning', async () => {
  const tokenizer = await clip();
  const words = (count: number): string => Array.from({ length: count }, (_, i) => `Word${i}`).join('  ');
  const [short, long] = [tokenizer.encode(words(1000)), tokenizer.encode(words(300_000))];
  expect([...long.ids]).toEqual([...short.ids]);
  expect(long.words).toEqual(short.words);
  expect(long.truncated.startsWith(short.truncated)).toBe(true);
  expect(long.truncated.endsWith(' word299999')).toBe(true);
  expect([...tokenizer.encode('a'.repeat(1e6)).ids]).toEqual([...tokenizer.encode('a'.repeat(10_000)).ids]);
  // White space alone fills nothing.
  expect([...tokenizer.encode(`a${' '.repeat(1e6)}cat`).ids]).toEqual([...tokenizer.encode('a cat').ids]);
});

test('maxLength is capped by the text encoder', async () => {
  const config = { model_max_length: 1000000000000000019884624838656 };
  expect((await clip(config)).maxLength).toBe(77);
  expect((await clip({ model_max_length: 20 })).encode('a').ids).toHaveLength(20);
});

test('Stable Diffusion 2 pads with "!"', async () => {
  const { ids, length } = (await clip({ pad_token: '<|endoftext|>' }, { pad_token: '!' })).encode('a cat');
  expect([length, ids[3], ids[4], ids[76]]).toEqual([4, 49407, 0, 0]);
});

test('special_tokens_map.json yields to added_tokens_decoder', async () => {
  const tokenizer = await clip({ added_tokens_decoder: {}, pad_token: { content: '<|endoftext|>' } }, { pad_token: '!' });
  expect(tokenizer.encode('a').ids[76]).toBe(49407);
});

test('tokenId finds single tokens only', async () => {
  const tokenizer = await clip();
  const vocab = clipVocab();
  expect(tokenizer.tokenId('sks')).toBe(vocab['sks</w>']);
  expect(tokenizer.tokenId('SKS')).toBe(vocab['sks</w>']);
  // In CLIP's vocabulary only as the beginning of a word.
  expect(tokenizer.tokenId('ktn')).toBeNull();
  expect(tokenizer.tokenId('supercalifragilistic')).toBeNull();
  expect(tokenizer.tokenId('a cat')).toBeNull();
  expect(tokenizer.tokenId('')).toBeNull();
});

test('tokenizer.json is used when there is one', async () => {
  write({ 'tokenizer.json': tinyJson(), 'vocab.json': 'not read', 'merges.txt': 'not read' });
  const tokenizer = await Tokenizer.load(folder, { maxPositions: 8, vocabSize: 7 });
  expect([...tokenizer.encode('AB ba').ids]).toEqual([5, 4, 1, 2, 6, 6, 6, 6]);
});

describe('hostile or damaged files', () => {
  const broken = (change: (json: ReturnType<typeof tinyJson>) => void): Record<string, unknown> => {
    const json = tinyJson();
    change(json);
    return { 'tokenizer.json': json };
  };
  const INVALID = 'CONES_CONFIG_INVALID';
  const UNSUPPORTED = 'CONES_CONFIG_UNSUPPORTED';

  test.each<[string, Record<string, unknown>, string]>([
    ['nothing there', {}, 'CONES_MODEL_NOT_FOUND'],
    ['no merges', { 'vocab.json': clipVocab() }, 'CONES_MODEL_NOT_FOUND'],
    ['not JSON', { 'tokenizer.json': '{"model"' }, INVALID],
    ['another model', broken((json) => (json.model['type'] = 'Unigram')), UNSUPPORTED],
    ['no model', { 'tokenizer.json': { added_tokens: 3 } }, UNSUPPORTED],
    ['another normalizer', broken((json) => (json['normalizer'] = { type: 'Lowercase' })), UNSUPPORTED],
    ['a foreign pattern', broken((json) => Object.assign(json, { pre_tokenizer: { pretokenizers: [{ type: 'Split', pattern: { Regex: '(a+)+$' } }, { type: 'ByteLevel' }] } })), UNSUPPORTED],
    ['an id that is no index', broken((json) => (json.model['vocab'] = { a: 1e9 })), INVALID],
    ['a negative id', broken((json) => (json.model['vocab'] = { a: -1 })), INVALID],
    ['an id that is no number', broken((json) => (json.model['vocab'] = { a: '0' })), INVALID],
    ['an id twice', broken((json) => (json.model['vocab'] = { a: 0, b: 0 })), INVALID],
    ['an id twice through added tokens', broken((json) => (json['added_tokens'] = [{ id: 0, content: '<|endoftext|>' }])), INVALID],
    ['a merge of three', broken((json) => (json.model['merges'] = ['a b c'])), INVALID],
    ['a merge of numbers', broken((json) => (json.model['merges'] = [[1, 2]])), INVALID],
    ['a merge into no token', broken((json) => (json.model['merges'] = [['b', 'b']])), INVALID],
    ['no special tokens', broken((json) => (json['added_tokens'] = [])), INVALID],
    ['padding that is no token', { ...broken(() => {}), 'tokenizer_config.json': { pad_token: '<pad>' } }, INVALID],
    ['padding that is no text', { ...broken(() => {}), 'tokenizer_config.json': { pad_token: 7 } }, INVALID],
    ['an added token that is no text', { ...broken(() => {}), 'tokenizer_config.json': { added_tokens_decoder: { 0: { content: 7 } } } }, INVALID],
    ['an added token without an id', { ...broken(() => {}), 'tokenizer_config.json': { added_tokens_decoder: { x: { content: 'x' } } } }, INVALID],
    ['an added token with the id of another', { ...broken(() => {}), 'added_tokens.json': { x: 0 } }, INVALID],
    ['an added token for whole words', broken((json) => (json['added_tokens'] as object[]).push({ id: 7, content: 'x', single_word: true })), UNSUPPORTED],
    ['a special token that is no token', { ...broken(() => {}), 'special_tokens_map.json': { additional_special_tokens: ['<x>'] } }, INVALID],
    ['no length', { ...broken(() => {}), 'tokenizer_config.json': { model_max_length: 0 } }, INVALID],
    ['more tokens than embeddings', broken((json) => (json.model['vocab'] = { a: 7 })), INVALID],
    ['__proto__ as a token', { 'tokenizer.json': '{"model": {"__proto__": {"type": "BPE"}}}' }, UNSUPPORTED],
  ])('%s', async (_, files, code) => {
    write(files);
    await expect(Tokenizer.load(folder, { maxPositions: 8, vocabSize: 7 })).rejects.toMatchObject({ code });
  });
});
