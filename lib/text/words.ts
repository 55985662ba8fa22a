/** Words of textual inversion in prompts: each stands for as many tokens as it has vectors. */
import type { Word } from '../adapters/textual-inversion';
import type { Subject } from '../concept-file/types';
import type { PromptPiece, ResolvedPrompt } from './prompt';

/** What is replaced: one token of any vocabulary with CLIP's alphabet. */
const PLACEHOLDER = 'a';

/** Words as subjects, which prompts name by their identifiers; their further vectors are subjects that no prompt names. */
export class Words {
  readonly subjects: readonly Subject[];
  readonly #vectors = new Map<Subject, readonly Subject[]>();

  constructor(words: readonly Word[]) {
    this.subjects = words.map(({ text, vectors }) => {
      const all = vectors.map((values): Subject => ({ identifier: text, token: PLACEHOLDER, category: '', embedding: { dtype: 'float32', values } }));
      this.#vectors.set(all[0]!, all);
      return all[0]!;
    });
  }

  /** A prompt in which each word's piece is as many as it has vectors. */
  expand(prompt: ResolvedPrompt): ResolvedPrompt {
    const vectorsOf = (subject: Subject) => this.#vectors.get(subject) ?? [subject];
    if (!prompt.used.some((subject) => vectorsOf(subject).length > 1)) return prompt;
    const pieces = prompt.pieces.flatMap((piece): PromptPiece[] => (piece.subject ? vectorsOf(piece.subject).map((subject) => ({ ...piece, subject })) : [piece]));
    return { ...prompt, pieces, used: prompt.used.flatMap(vectorsOf) };
  }
}
