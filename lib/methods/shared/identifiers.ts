/** Learned identifiers as native searches and trainings take them: the captions that name the subjects, in tokens. */
import type { NativeIdentifier } from '../../../typings/native';
import type { Subject } from '../../concept';
import type { Session } from '../../engine/session';
import { encodeWithOwnTokens, ownToken } from '../../text/own-tokens';
import { namesSubject, resolvePrompt } from '../../text/prompt';

export interface IdentifierSettings {
  /** Where embeddings start: at the rare token's, or at the mean of the category's. */
  readonly init: 'token' | 'category';
  readonly learningRate: number;
  /** 0: Adam. */
  readonly weightDecay: number;
}

/** The first of the subjects that no caption names; undefined where all are named. */
export function unnamedSubject(subjects: readonly Subject[], texts: readonly string[]): Subject | undefined {
  return subjects.find((subject) => !texts.some((text) => namesSubject(text, subject)));
}

/** @param texts all captions, which name every subject */
export function learnedIdentifiers(session: Session, subjects: readonly Subject[], texts: readonly string[], settings: IdentifierSettings): NativeIdentifier {
  const { tokenizer } = session;
  const { vocabSize } = session.config.text;
  const naming = texts.flatMap((text, caption) => {
    const resolved = resolvePrompt(text, subjects);
    return resolved.used.length > 0 ? [{ caption, ids: encodeWithOwnTokens(tokenizer, vocabSize, resolved, subjects).ids }] : [];
  });
  const ids = new Int32Array(naming.length * tokenizer.maxLength);
  naming.forEach(({ ids: row }, i) => ids.set(row, i * tokenizer.maxLength));
  return {
    tokens: Int32Array.from(subjects, (_, i) => ownToken(vocabSize, i)),
    starts: subjects.map((subject) => {
      const { ids: word, length } = tokenizer.encode(settings.init === 'token' ? subject.token : subject.category);
      return Uint32Array.from(word.slice(1, length - 1)); // without beginning and end
    }),
    captions: Int32Array.from(naming.map(({ caption }) => caption)),
    ids,
    learningRate: settings.learningRate,
    weightDecay: settings.weightDecay,
  };
}
