/** A learned identifier as the native search takes it: the captions that name the subject, in tokens. */
import type { NativeIdentifier } from '../../../typings/native';
import type { Subject } from '../../concept';
import type { Session } from '../../engine/session';
import { ConesError } from '../../errors';
import { encodeWithOwnTokens, ownToken } from '../../text/own-tokens';
import { resolvePrompt } from '../../text/prompt';
import type { SearchSettings } from './options';

/**
 * @param texts all captions of the search
 * @throws ConesError CONES_OPTION_INVALID when none of them names the subject
 */
export async function identifierOptions(session: Session, settings: SearchSettings, subject: Subject, texts: readonly string[]): Promise<NativeIdentifier> {
  const { tokenizer } = session;
  const { vocabSize } = session.config.text;
  const naming = texts.flatMap((text, caption) => {
    const resolved = resolvePrompt(text, [subject]);
    return resolved.used.length > 0 ? [{ caption, ids: encodeWithOwnTokens(tokenizer, vocabSize, resolved, [subject]).ids }] : [];
  });
  if (naming.length === 0) {
    throw new ConesError(
      'CONES_OPTION_INVALID',
      `findConcept: the option learnEmbedding: no caption has the identifier ${subject.identifier}; put it into the captions.`,
    );
  }
  const ids = new Int32Array(naming.length * tokenizer.maxLength);
  naming.forEach(({ ids: row }, i) => ids.set(row, i * tokenizer.maxLength));
  const { ids: word, length } = tokenizer.encode(settings.embeddingInit === 'token' ? subject.token : subject.category);
  return {
    token: ownToken(vocabSize, 0),
    start: word.slice(1, length - 1), // without beginning and end
    captions: Int32Array.from(naming.map(({ caption }) => caption)),
    ids,
    learningRate: settings.embeddingRate,
    ...(settings.embeddingNorm === undefined ? {} : { normLimit: settings.embeddingNorm * (await session.wordNorm(settings.signal)) }),
  };
}
