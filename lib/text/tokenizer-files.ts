import path from 'node:path';
import { ConesError } from '../errors';
import { invalid, unsupported } from '../models/parse';
import { type JsonObject, readJson, readText } from '../models/read-json';
import { show } from '../util/show';

/** A token that is found in a text before it is cut into words: special ones, and those that users added for new words. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Whether it is looked for in the lower-cased text, so that it is found in any case. */
  readonly normalized: boolean;
}

/** What a CLIP tokenizer is made of; everything else about it is fixed (see tokenizer.ts). */
export interface TokenizerFiles {
  /** Token → id; word ends are marked by `</w>`. */
  readonly vocab: Readonly<Record<string, number>>;
  /** Pairs in the order in which they are merged. */
  readonly merges: readonly (readonly [string, string])[];
  /** BOS, EOS and padding among them. */
  readonly added: readonly AddedToken[];
  readonly bos: string;
  readonly eos: string;
  readonly pad: string;
  /** `model_max_length`, or Infinity. */
  readonly maxLength: number;
}

/** The largest tokenizer.json known has 17 MB. */
const MAX_BYTES = 2 ** 26;
const MAX_TOKENS = 2 ** 20;

/** How CLIP cuts text into words, with and without the special tokens in the pattern. */
const WORD_PATTERNS = [
  String.raw`<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`,
  String.raw`'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`,
];

/** The tokens that transformers looks for in a text as special ones. */
const SPECIAL = ['bos_token', 'eos_token', 'unk_token', 'pad_token'] as const;

/**
 * Reads a `tokenizer/` folder: `tokenizer.json`, or else `vocab.json` and `merges.txt`, and beside them
 * `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json`.
 * @throws ConesError CONES_MODEL_NOT_FOUND, CONES_CONFIG_INVALID, CONES_CONFIG_UNSUPPORTED or CONES_IO.
 */
export async function readTokenizerFiles(folder: string): Promise<TokenizerFiles> {
  const tables = (await readFast(folder)) ?? (await readSlow(folder));
  const configFile = path.join(folder, 'tokenizer_config.json');
  const config = (await optional(readJson(configFile))) ?? {};
  // As transformers: the map is older than `added_tokens_decoder`, and counts only where that is absent.
  const map = (await optional(readJson(path.join(folder, 'special_tokens_map.json')))) ?? {};
  const special = Object.hasOwn(config, 'added_tokens_decoder') ? config : { ...config, ...map };
  const simple = (await optional(readJson(path.join(folder, 'added_tokens.json'), MAX_BYTES))) ?? {};
  const entries = [
    ...tables.added,
    ...Object.entries(object(config['added_tokens_decoder'])).map(([id, token]) => ({ ...object(token), id: Number(id) })),
    ...Object.entries(simple).map(([content, id]) => ({ content, id })),
  ];
  const added = new Map<string, AddedToken>();
  for (const entry of entries) addToken(added, folder, entry);
  const vocab = { ...tables.vocab, ...Object.fromEntries(Array.from(added.values(), ({ content, id }) => [content, id])) };
  checkIds(folder, vocab);

  const specialToken = (key: string, value: unknown): string => {
    const token = typeof value === 'string' ? { content: value } : object(value);
    const content = token['content'];
    if (typeof content !== 'string' || !Object.hasOwn(vocab, content)) {
      throw invalid(folder, `the ${key} ${show(content)} is not in the vocabulary`);
    }
    addToken(added, folder, { normalized: false, ...token, id: vocab[content] });
    return content;
  };
  const eos = specialToken('eos_token', special['eos_token'] ?? '<|endoftext|>');
  const fallback = { bos_token: '<|startoftext|>', eos_token: eos, unk_token: eos, pad_token: eos };
  const [bos, , , pad] = SPECIAL.map((key) => specialToken(key, special[key] ?? fallback[key])) as [string, string, string, string];
  const additional = special['additional_special_tokens'] ?? [];
  if (Array.isArray(additional)) additional.forEach((token) => specialToken('additional_special_tokens entry', token));

  const maxLength = config['model_max_length'] ?? Infinity;
  if (typeof maxLength !== 'number' || !(maxLength >= 3)) throw invalid(configFile, `"model_max_length" must be 3 or more`);
  return { vocab, merges: tables.merges, added: [...added.values()], bos, eos, pad, maxLength };
}

/** Takes in a token as transformers and tokenizers write it; what is said of it first counts. */
function addToken(added: Map<string, AddedToken>, file: string, entry: JsonObject): void {
  const { id, content, special = false, normalized = !special, single_word: singleWord = false } = entry;
  if (typeof content !== 'string' || content === '') throw invalid(file, `the added token ${show(content)} must be a text`);
  if (singleWord !== false) throw unsupported(file, `the added token ${show(content)}: single_word`, singleWord, 'false');
  if (!added.has(content)) {
    added.set(content, { id: id as number, content, normalized: normalized === true });
  }
}

type Tables = Pick<TokenizerFiles, 'vocab' | 'merges'> & { readonly added: readonly JsonObject[] };

async function readFast(folder: string): Promise<Tables | null> {
  const file = path.join(folder, 'tokenizer.json');
  const json = await optional(readJson(file, MAX_BYTES));
  if (json === null) return null;
  const model = object(json['model']);
  const isBpe = model['type'] === 'BPE' && model['end_of_word_suffix'] === '</w>';
  if (!isBpe) throw unsupported(file, 'model', model['type'], 'CLIP\'s "BPE" with end_of_word_suffix "</w>"');
  const normalizers = types(object(json['normalizer'])['normalizers']);
  if (normalizers !== 'NFC,Replace,Lowercase') {
    throw unsupported(file, 'normalizer', normalizers, 'CLIP\'s NFC, Replace, Lowercase');
  }
  const preTokenizers = object(json['pre_tokenizer'])['pretokenizers'];
  const pattern = Array.isArray(preTokenizers) ? object(object(preTokenizers[0])['pattern'])['Regex'] : undefined;
  if (types(preTokenizers) !== 'Split,ByteLevel' || !WORD_PATTERNS.includes(pattern as string)) {
    throw unsupported(file, 'pre_tokenizer', pattern ?? types(preTokenizers), "CLIP's Split and ByteLevel");
  }
  const added = Array.isArray(json['added_tokens']) ? json['added_tokens'].map(object) : [];
  const merges = Array.isArray(model['merges']) ? (model['merges'] as unknown[]) : [];
  return checkTables(file, object(model['vocab']), merges.map((merge) => (typeof merge === 'string' ? merge.split(' ') : merge)), added);
}

async function readSlow(folder: string): Promise<Tables> {
  const vocab = await readJson(path.join(folder, 'vocab.json'), MAX_BYTES);
  const file = path.join(folder, 'merges.txt');
  const lines = (await readText(file, MAX_BYTES)).split(/\r?\n/);
  const merges = lines.filter((line) => line !== '' && !line.startsWith('#version')).map((line) => line.split(' '));
  return checkTables(file, vocab, merges);
}

/** Ids index the rows of the text encoder's embedding. */
function checkIds(file: string, vocab: JsonObject): void {
  const ids = Object.values(vocab);
  if (ids.length === 0 || ids.length > MAX_TOKENS) throw invalid(file, `the vocabulary must have 1 to ${MAX_TOKENS} tokens`);
  if (!ids.every((id) => Number.isInteger(id) && (id as number) >= 0 && (id as number) < MAX_TOKENS)) {
    throw invalid(file, `token ids must be whole numbers below ${MAX_TOKENS}`);
  }
  if (new Set(ids).size !== ids.length) throw invalid(file, 'two tokens have the same id');
}

function checkTables(file: string, vocab: JsonObject, merges: readonly unknown[], added: readonly JsonObject[] = []): Tables {
  if (merges.length > MAX_TOKENS) throw invalid(file, `there are more than ${MAX_TOKENS} merges`);
  for (const merge of merges) {
    const isPair = Array.isArray(merge) && merge.length === 2 && merge.every((part) => typeof part === 'string');
    if (!isPair || !Object.hasOwn(vocab, merge.join(''))) {
      throw invalid(file, `the merge ${show(merge)} must be two tokens that make a third of the vocabulary`);
    }
  }
  return { vocab: vocab as Record<string, number>, merges: merges as [string, string][], added };
}

function types(list: unknown): string {
  return Array.isArray(list) ? list.map((entry) => String(object(entry)['type'])).join(',') : 'none';
}

function object(value: unknown): JsonObject {
  return Object(value) as JsonObject;
}

/** null where the file does not exist. */
async function optional<T>(file: Promise<T>): Promise<T | null> {
  try {
    return await file;
  } catch (error) {
    if (error instanceof ConesError && error.code === 'CONES_MODEL_NOT_FOUND') return null;
    throw error;
  }
}
