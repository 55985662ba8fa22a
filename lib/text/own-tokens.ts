/**
 * Subjects with an embedding of their own are tokens of their own, behind the vocabulary, as Textual Inversion adds them to a
 * tokenizer. So an embedding belongs to the places where a prompt names its subject: two subjects may share a rare token, which a
 * prompt may also have as a plain word.
 */
import type { Subject } from '../concept-file/types';
import type { ResolvedPrompt } from './prompt';
import type { Encoding, Tokenizer } from './tokenizer';

/** The token of the i-th subject that has one of its own. */
export function ownToken(vocabSize: number, i: number): number {
  return vocabSize + i;
}

/** A prompt in tokens, those of `subjects` among them. */
export function encodeWithOwnTokens(tokenizer: Tokenizer, vocabSize: number, { pieces }: Pick<ResolvedPrompt, 'pieces'>, subjects: readonly Subject[]): Encoding {
  const encoding = tokenizer.encode(pieces.map(({ text }) => text));
  const ids = encoding.ids.map((id, position) => {
    const subject = pieces[encoding.pieceOfToken[position]!]?.subject;
    const own = subject === undefined ? -1 : subjects.indexOf(subject);
    return own < 0 ? id : ownToken(vocabSize, own);
  });
  return { ...encoding, ids };
}
