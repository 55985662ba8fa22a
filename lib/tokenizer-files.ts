import { ConesError } from './errors';
import path from 'node:path';
import { invalid, unsupported } from './model-config/parse';
import { type JsonObject, readJson, readText } from './model-config/read-json';


/** What a CLIP tokenizer is made of; everything else about it is fixed (see tokenizer.ts). */
export interface TokenizerFiles {
  /** Token → id; word ends are marked by `</w>`. */
  readonly vocab: Readonly<Record<string, number>>;
  /** Pairs in the order in which they are merged. */
  readonly merges: readonly (readonly [string, string])[];
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

/**
 * Reads a `tokenizer/` folder: `tokenizer.json`, or else `vocab.json` and `merges.txt`, and
 * `tokenizer_config.json` and `special_tokens_map.json` beside them.
 * @throws ConesError CONES_MODEL_NOT_FOUND, CONES_CONFIG_INVALID, CONES_CONFIG_UNSUPPORTED or CONES_IO.
 */
export async function readTokenizerFiles(folder: string): Promise<TokenizerFiles> {
  const { vocab, merges } = (await readFast(folder)) ?? (await readSlow(folder));
  const config = (await optional(readJson(path.join(folder, 'tokenizer_config.json')))) ?? {};
  // As transformers: the map is older than `added_tokens_decoder`, and counts only where that is absent.
  const map = (await optional(readJson(path.join(folder, 'special_tokens_map.json')))) ?? {};
  const special = Object.hasOwn(config, 'added_tokens_decoder') ? config : { ...config, ...map };
  const specialToken = (key: string, fallback: string): string => {
    const value = special[key] ?? fallback;
    const text = typeof value === 'string' ? value : (Object(value) as JsonObject)['content'];
    if (typeof text !== 'string' || !Object.hasOwn(vocab, text)) {
      throw invalid(folder, `the ${key} ${JSON.stringify(text)} is not in the vocabulary`);
    }
    return text;
  };
  const eos = specialToken('eos_token', '<|endoftext|>');
  const maxLength = config['model_max_length'] ?? Infinity;
  if (typeof maxLength !== 'number' || !(maxLength >= 3)) {
    throw invalid(path.join(folder, 'tokenizer_config.json'), `"model_max_length" must be 3 or more`);
  }
  return { vocab, merges, bos: specialToken('bos_token', '<|startoftext|>'), eos, pad: specialToken('pad_token', eos), maxLength };
}

type Tables = Pick<TokenizerFiles, 'vocab' | 'merges'>;

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
  const vocab = Object.fromEntries([
    ...Object.entries(object(model['vocab'])),
    ...added.map((token) => [String(token['content']), token['id']] as const),
  ]);
  const merges = Array.isArray(model['merges']) ? (model['merges'] as unknown[]) : [];
  return checkTables(file, vocab, merges.map((merge) => (typeof merge === 'string' ? merge.split(' ') : merge)));
}

async function readSlow(folder: string): Promise<Tables> {
  const vocab = await readJson(path.join(folder, 'vocab.json'), MAX_BYTES);
  const file = path.join(folder, 'merges.txt');
  const lines = (await readText(file, MAX_BYTES)).split(/\r?\n/);
  const merges = lines.filter((line) => line !== '' && !line.startsWith('#version')).map((line) => line.split(' '));
  return checkTables(file, vocab, merges);
}

function checkTables(file: string, vocab: JsonObject, merges: readonly unknown[]): Tables {
  const ids = Object.values(vocab);
  if (ids.length === 0 || ids.length > MAX_TOKENS || merges.length > MAX_TOKENS) {
    throw invalid(file, `the vocabulary must have 1 to ${MAX_TOKENS} tokens, and no more merges`);
  }
  // Ids index the rows of the text encoder's embedding.
  if (!ids.every((id) => Number.isInteger(id) && (id as number) >= 0 && (id as number) < MAX_TOKENS)) {
    throw invalid(file, `token ids must be whole numbers below ${MAX_TOKENS}`);
  }
  if (new Set(ids).size !== ids.length) throw invalid(file, 'two tokens have the same id');
  for (const merge of merges) {
    const isPair = Array.isArray(merge) && merge.length === 2 && merge.every((part) => typeof part === 'string');
    if (!isPair || !Object.hasOwn(vocab, merge.join(''))) {
      throw invalid(file, `the merge ${JSON.stringify(merge)} must be two tokens that make a third of the vocabulary`);
    }
  }
  return { vocab: vocab as Record<string, number>, merges: merges as [string, string][] };
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
