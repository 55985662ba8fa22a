import type { Subject } from '../concept-file/types';

/**
 * What makes two identifiers, categories or rare words the same: neither case nor Unicode form. Keyboards and file systems write
 * "é" as one character (NFC) or as two (NFD), and the tokenizer reads both alike.
 */
export function identifierKey(text: string): string {
  return Array.from(text.normalize('NFC'), foldCase).join('');
}

/** A subject whose texts are in one Unicode form, as prompts are compared. */
export function inNfc({ identifier, token, category, embedding }: Subject): Subject {
  const names = { identifier: identifier.normalize('NFC'), token: token.normalize('NFC'), category: category.normalize('NFC') };
  return embedding ? { ...names, embedding } : names;
}

/** Simple case folding, as the flag `i` of a regular expression with `u` has it: Σ, σ and ς are one letter, ß and ss are not. */
function foldCase(character: string): string {
  const upper = character.toUpperCase();
  const isOne = Array.from(upper).length === 1;
  // ı alone would become I, and so i.
  return (isOne && character !== 'ı' ? upper : character).toLowerCase();
}
