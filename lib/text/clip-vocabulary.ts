/**
 * CLIP's own vocabulary, for models that come without a tokenizer: all of Stable Diffusion 1.x and 2.x were trained with it.
 * models/clip-bpe has OpenAI's list of merges (MIT licence), from which the tokens and their ids follow.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import type { TokenizerFiles } from './tokenizer-files';

/** Two levels up from lib/text as well as from dist/text. */
const MERGES = path.join(__dirname, '..', '..', 'models', 'clip-bpe', 'merges.txt.gz');

const BOS = '<|startoftext|>';
const EOS = '<|endoftext|>';

/** @param pad '<|endoftext|>' for Stable Diffusion 1.x, '!' for 2.x */
export async function clipVocabulary(pad: '<|endoftext|>' | '!'): Promise<TokenizerFiles> {
  const text = (await promisify(gunzip)(await readFile(MERGES))).toString('utf8');
  const merges = text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#version'))
    .map((line) => line.split(' ') as [string, string]);
  const bytes = byteTokens();
  const tokens = [...bytes, ...bytes.map((token) => `${token}</w>`), ...merges.map((pair) => pair.join('')), BOS, EOS];
  const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
  const special = [BOS, EOS, pad].filter((content, i, all) => all.indexOf(content) === i);
  const added = special.map((content) => ({ id: vocab[content]!, content, normalized: false }));
  return { vocab, merges, added, bos: BOS, eos: EOS, pad, maxLength: 77 };
}

/** A character for each byte, as GPT-2's byte-level encoding has them: itself where it can be seen, else one beyond 255. */
function byteTokens(): string[] {
  const visible = [...range(0x21, 0x7e), ...range(0xa1, 0xac), ...range(0xae, 0xff)];
  const others = range(0, 0xff).filter((byte) => !visible.includes(byte));
  return [...visible.map((code) => String.fromCharCode(code)), ...others.map((_, i) => String.fromCharCode(256 + i))];
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}
