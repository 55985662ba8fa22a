import { z } from 'zod';
import type { Concept, Subject } from '../concept';
import { ConesError } from '../errors';
import { conceptOption, parseOptions, promptOption, signalOption } from '../util/options';
import { Words } from '../text/words';
import { encodeWithOwnTokens, ownToken } from '../text/own-tokens';
import { joinSubjects, type ResolvedPrompt, resolvePrompt, resolveText } from '../text/prompt';
import { ownOptions } from '../util/reading';
import { brief, show } from '../util/show';
import type { Warning } from '../warning';
import { type AdapterChoice, adaptersOption, adaptersPerPrompt, type ChosenAdapter, nativeAdapters, wordsOf } from './adapters';
import type { Session } from './session';
import type { Embeddings } from './tensors';

export interface EncodedPrompts extends Embeddings {
  readonly warnings: readonly Warning[];
}

/** With the subjects that each text names. */
export interface EncodedTexts extends EncodedPrompts {
  readonly named: readonly (readonly Subject[])[];
}

export interface EncodePromptOptions {
  /** Whose identifiers the prompts may use. Default: none. */
  readonly concepts?: readonly Concept[];
  /** Adapters that change the text encoder, or bring words. Default: none. */
  readonly adapters?: readonly AdapterChoice[];
  readonly signal?: AbortSignal;
}

const schema = z.strictObject({
  prompt: promptOption,
  concepts: z.array(conceptOption).default([]),
  adapters: adaptersOption,
  signal: signalOption,
});

/**
 * Engine.encodePrompt.
 * @throws ConesError CONES_OPTION_INVALID, CONES_CONCEPT_MISMATCH, CONES_ABORTED
 */
export async function encodePrompt(session: Session, prompt: string | readonly string[], options: EncodePromptOptions = {}): Promise<EncodedPrompts> {
  const settings = parseOptions('encodePrompt', schema, ownOptions('encodePrompt', options, { prompt }));
  settings.concepts.forEach((concept) => concept.assertBaseModel(session.fingerprint));
  const prompts = [settings.prompt].flat();
  const subjects = joinSubjects(settings.concepts);
  // An empty one is no prompt to draw: its states are the unconditional ones.
  const isWord = (word: string) => session.tokenizer.hasWord(word);
  const adapters = adaptersPerPrompt(session, settings.adapters, prompts.length);
  const { data, shape, warnings } = await encodeWithWords(session, 'prompt', prompts, prompts.map(() => subjects), adapters, (one, own) => resolveText(one, own, isWord), settings.signal);
  return { data, shape, warnings };
}

/**
 * Text states of prompts, `[B, T, D]`. Identifiers (`V1*`) of a row's subjects become their rare tokens; a text beyond the
 * tokenizer's length (77 tokens for CLIP) is cut off with a warning.
 * @throws ConesError CONES_PROMPT_EMPTY for an empty prompt
 */
export async function encodePrompts(
  session: Session,
  prompts: readonly string[],
  subjects: readonly (readonly Subject[])[],
  signal?: AbortSignal,
  adapters: TextAdapters = [],
): Promise<EncodedTexts> {
  const isWord = (word: string) => session.tokenizer.hasWord(word);
  return encodeWithWords(session, 'prompt', prompts, subjects, adapters, (prompt, own) => resolvePrompt(prompt, own, isWord), signal);
}

/** The same for negative prompts, which may be empty. */
export async function encodeNegativePrompts(
  session: Session,
  texts: readonly string[],
  subjects: readonly (readonly Subject[])[],
  signal?: AbortSignal,
  adapters: TextAdapters = [],
): Promise<EncodedTexts> {
  const isWord = (word: string) => session.tokenizer.hasWord(word);
  return encodeWithWords(session, 'negative prompt', texts, subjects, adapters, (text, own) => resolveText(text, own, isWord), signal);
}

/** Of each text: they may change the text encoder, and bring words of textual inversion. */
export type TextAdapters = readonly (readonly ChosenAdapter[])[];

type Resolve = (text: string, subjects: readonly Subject[]) => ResolvedPrompt;

async function encodeWithWords(
  session: Session,
  what: string,
  texts: readonly string[],
  subjects: readonly (readonly Subject[])[],
  adapters: TextAdapters,
  resolve: Resolve,
  signal?: AbortSignal,
): Promise<EncodedTexts> {
  // The same vectors for the same words, so that a text is encoded once for all that have it.
  const words = new Map<unknown, Words>();
  const resolved = texts.map((text, i) => {
    const own = adapters[i] ?? [];
    const known = words.get(own) ?? new Words(wordsOf(session, own));
    words.set(own, known);
    return known.expand(resolve(text, joinSubjects([{ subjects: subjects[i] ?? [] }, known])));
  });
  return encodeResolved(session, what, resolved, signal, adapters);
}

async function encodeResolved(session: Session, what: string, resolved: readonly ResolvedPrompt[], signal?: AbortSignal, adapters: TextAdapters = []): Promise<EncodedTexts> {
  const warnings = resolved.flatMap((one) => one.warnings);
  return { ...(await encodeTexts(session, what, resolved, warnings, signal, adapters)), named: resolved.map(({ used }) => used) };
}

async function encodeTexts(session: Session, what: string, texts: readonly ResolvedPrompt[], warnings: Warning[], signal: AbortSignal | undefined, adapters: TextAdapters): Promise<EncodedPrompts> {
  session.assertUsable();
  const { maxLength } = session.tokenizer;
  const { hiddenSize: width, vocabSize } = session.config.text;
  const size = maxLength * width;
  const data = new Float32Array(texts.length * size);
  const done = new Map<string, Float32Array>();
  // Two concepts may have learned different embeddings for one token.
  const numbers = new Map<unknown, number>();
  const numberOf = (embedding: unknown) => numbers.get(embedding) ?? (numbers.set(embedding, numbers.size), numbers.size - 1);
  for (const [i, { pieces, used }] of texts.entries()) {
    const learned = used.filter(({ embedding }) => embedding);
    const changing = nativeAdapters(session, adapters[i] ?? []);
    const key = JSON.stringify([
      pieces.map(({ text, subject }) => (subject?.embedding ? numberOf(subject.embedding) : text)),
      changing?.map(({ adapter, weight }) => [numberOf(adapter), weight]),
    ]);
    let states = done.get(key);
    if (!states) {
      const encoding = encodeWithOwnTokens(session.tokenizer, vocabSize, { pieces }, learned);
      if (encoding.truncated) {
        warnings.push({
          code: 'prompt-truncated',
          message: `The ${what} is longer than ${maxLength - 2} tokens; this end of it is ignored: "${brief(encoding.truncated)}".`,
        });
      }
      const replace = learned.length === 0 ? {} : replacement(session, learned, width);
      states = await session.job(signal, (abort) => session.model.encodeText(encoding.ids, 1, { abort, ...replace, ...(changing && { adapters: changing }) }));
      done.set(key, states);
    }
    data.set(states, i * size);
  }
  return { data, shape: [texts.length, maxLength, width], warnings };
}

/** @throws ConesError CONES_CONCEPT_MISMATCH */
function replacement(session: Session, learned: readonly Subject[], width: number) {
  const rows = new Float32Array(learned.length * width);
  learned.forEach(({ identifier, token, embedding }, i) => {
    const { values } = embedding!;
    if (session.tokenizer.tokenId(token) === null) throw mismatch(`${identifier} stands for "${show(token)}", which is not one token of this model`);
    if (values.length !== width) throw mismatch(`the embedding of ${identifier} has ${values.length} values, those of this model ${width}`);
    rows.set(values, i * width);
  });
  return { replaceIds: Int32Array.from(learned, (_, i) => ownToken(session.config.text.vocabSize, i)), replaceRows: rows };
}

function mismatch(what: string): ConesError {
  return new ConesError('CONES_CONCEPT_MISMATCH', `The concept does not fit: ${what}. Load the model that it was made for.`);
}
