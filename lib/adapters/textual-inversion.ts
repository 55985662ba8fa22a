/** Textual inversion: words with vectors of their own, as diffusers and stable-diffusion-webui save them. */
import { ConesError } from '../errors';
import { brief, show } from '../util/show';
import { type AdapterFile, invalid, numbersOf, quoted } from './file';

/** A word of prompts, and what the text encoder sees in its place. */
export interface Word {
  readonly text: string;
  /** [n][D] */
  readonly vectors: readonly Float32Array[];
}

const WEBUI = ['emb_params', 'string_to_param.*'];
/** A text has 75 tokens. */
const MOST_VECTORS = 75;
const MOST_WORDS = 64;
const LONGEST_WORD = 200;

export function isTextualInversion(names: readonly string[]): boolean {
  const isWord = (name: string) => !name.includes('.') || name.startsWith('<');
  return names.length > 0 && (names.some((name) => WEBUI.includes(name) || name === 'clip_l' || name === 'clip_g') || names.every(isWord));
}

/**
 * @param name the word in prompts; default: the file's own
 * @throws ConesError CONES_ADAPTER_INVALID, CONES_ADAPTER_MISMATCH for vectors of another text encoder, CONES_OPTION_INVALID
 */
export async function readWords(file: AdapterFile, width: number, name: string | undefined): Promise<Word[]> {
  const keys = [...file.tensors.keys()];
  if (keys.includes('clip_g')) throw mismatch(file, 'it was made for Stable Diffusion XL, which has two text encoders');
  const webui = keys.filter((key) => WEBUI.includes(key) || key === 'clip_l');
  const words = webui.length > 0 ? webui.slice(0, 1) : keys;
  if (words.length > MOST_WORDS) throw invalid(file.label, `has ${words.length} words, where one or a few are expected`);
  if (name !== undefined && words.length > 1) throw new ConesError('CONES_OPTION_INVALID', `loadAdapter: the option name: ${file.label} has ${words.length} words; leave the option out.`);
  return Promise.all(words.map(async (key) => ({ text: wordOf(file, webui.length > 0 ? undefined : key, name), vectors: await vectorsOf(file, key, width) })));
}

const BUNDLED = /^bundle_emb\.(?<word>.+)\.(?:string_to_param\.\*|emb_params)$/;

/** Words that a LoRA's file brings along, as kohya's programs bundle them. */
export async function readBundledWords(file: AdapterFile, width: number): Promise<Word[]> {
  const found = [...file.tensors.keys()].flatMap((key) => {
    const word = BUNDLED.exec(key)?.groups?.['word'];
    return word === undefined ? [] : [{ key, word }];
  });
  if (found.length > MOST_WORDS) throw invalid(file.label, `has ${found.length} words, where one or a few are expected`);
  return Promise.all(found.map(async ({ key, word }) => ({ text: word, vectors: await vectorsOf(file, key, width) })));
}

function wordOf({ facts, stem, label }: AdapterFile, key: string | undefined, name: string | undefined): string {
  const own = facts.get('name');
  const text = name ?? key ?? (typeof own === 'string' && own !== '' ? own : stem);
  if (text.trim() === '' || text.length > LONGEST_WORD) throw invalid(label, `${text === '' ? 'does not say its word in prompts' : `has the word ${show(text)}`}: give one with the option name`);
  return text.trim();
}

async function vectorsOf(file: AdapterFile, key: string, width: number): Promise<Float32Array[]> {
  const { shape } = file.tensors.get(key)!;
  const own = shape.at(-1) ?? 0;
  const count = shape.length === 1 ? 1 : (shape[0] ?? 0);
  if (shape.length < 1 || shape.length > 2 || own === 0 || count === 0) throw invalid(file.label, `has ${quoted(key)} [${shape.slice(0, 8).join(', ')}], which is no list of vectors`);
  if (own !== width) throw mismatch(file, `its vectors have ${own} values, and those of this model's text encoder ${width}`);
  if (count > MOST_VECTORS) throw invalid(file.label, `has ${count} vectors, and a text at most ${MOST_VECTORS} tokens`);
  const values = numbersOf(await file.read(key));
  if (!values.every(Number.isFinite)) throw invalid(file.label, `has numbers that are not finite in ${quoted(key)}`);
  return Array.from({ length: count }, (_, i) => values.slice(i * width, (i + 1) * width));
}

function mismatch(file: AdapterFile, problem: string): ConesError {
  return new ConesError('CONES_ADAPTER_MISMATCH', `${brief(file.label)} does not fit this model: ${problem}. Take one that was made for this model.`);
}
