import { z } from 'zod';
import type { Concept, Subject } from '../concept';
import { ConesError } from '../errors';
import { conceptOption, parseOptions, promptOption, promptSyntaxOption, signalOption } from '../util/options';
import type { AdapterReference } from '../text/adapter-tags';
import { ownToken } from '../text/own-tokens';
import { joinSubjects } from '../text/prompt';
import type { PromptSyntax } from '../text/prompt-syntax';
import { emptyChunk, readPrompt, type ReadPrompt, type TextKind } from '../text/read-prompt';
import { Words } from '../text/words';
import { weighStates } from '../text/weigh-states';
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
  /** As in {@link GenerateOptions.promptSyntax}; texts of fewer chunks than the longest get empty ones. Default 'plain'. */
  readonly promptSyntax?: PromptSyntax;
  readonly signal?: AbortSignal;
}

/** How texts are read, and in how many chunks at least. */
export interface Reading {
  readonly syntax: PromptSyntax;
  readonly chunks?: number | undefined;
  /** Of each text: they may change the text encoder, and bring words. */
  readonly adapters?: readonly (readonly ChosenAdapter[])[];
}

const PLAIN: Reading = { syntax: 'plain' };

const schema = z.strictObject({
  prompt: promptOption,
  concepts: z.array(conceptOption).default([]),
  adapters: adaptersOption,
  promptSyntax: promptSyntaxOption,
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
  const syntax = settings.promptSyntax;
  // An empty one is no prompt to draw: its states are the unconditional ones.
  const adapters = adaptersPerPrompt(session, settings.adapters, prompts.length);
  const read = prompts.map((one, i) => readPrompt(one, subjects, { ...reader(session), words: wordsFor(session, adapters[i]), syntax, kind: 'prompt', mayBeEmpty: true }));
  const { data, shape, warnings } = await encodeTexts(session, read, { syntax, adapters }, settings.signal);
  return { data, shape, warnings };
}

/**
 * Text states of prompts, `[B, T, D]`. Identifiers (`V1*`) of a row's subjects become their rare tokens. T is the tokenizer's length
 * (77 tokens for CLIP), as often as the longest text has chunks; a plain text has one, and what does not fit is cut off with a warning.
 * @throws ConesError CONES_PROMPT_EMPTY for an empty prompt, CONES_OPTION_INVALID
 */
export async function encodePrompts(
  session: Session,
  prompts: readonly string[],
  subjects: readonly (readonly Subject[])[],
  signal?: AbortSignal,
  reading = PLAIN,
): Promise<EncodedTexts> {
  return encodeTexts(session, prompts.map((prompt, i) => read(session, 'prompt', prompt, subjects[i], reading, reading.adapters?.[i])), reading, signal);
}

/** The same for negative prompts, which may be empty. */
export async function encodeNegativePrompts(
  session: Session,
  texts: readonly string[],
  subjects: readonly (readonly Subject[])[],
  signal?: AbortSignal,
  reading = PLAIN,
): Promise<EncodedTexts> {
  return encodeTexts(session, texts.map((text, i) => read(session, 'negative prompt', text, subjects[i], reading, reading.adapters?.[i])), reading, signal);
}

/** The texts of a picture; without guidance it has no negative one. */
interface PictureTexts {
  readonly prompt: string;
  readonly negativePrompt?: string | undefined;
  readonly concepts: readonly Concept[];
  readonly adapters?: readonly ChosenAdapter[];
}

/** Chunks of a picture's text states: those of the longer of its texts. */
export function chunksOf(session: Session, { prompt, negativePrompt = '', concepts, adapters }: PictureTexts, reading: Reading): number {
  if (reading.syntax === 'plain') return 1;
  const subjects = joinSubjects(concepts);
  const texts = [read(session, 'prompt', prompt, subjects, reading, adapters), read(session, 'negative prompt', negativePrompt, subjects, reading, adapters)];
  return Math.max(...texts.map(({ chunks }) => chunks.length));
}

function read(session: Session, kind: TextKind, text: string, subjects: readonly Subject[] = [], { syntax }: Reading, adapters?: readonly ChosenAdapter[]): ReadPrompt {
  return readPrompt(text, subjects, { ...reader(session), words: wordsFor(session, adapters), syntax, kind, mayBeEmpty: kind === 'negative prompt' });
}

const words = new WeakMap<readonly ChosenAdapter[], Words>();

/** Made once for a list of adapters, so that a text is encoded once for all pictures that have both. */
function wordsFor(session: Session, adapters: readonly ChosenAdapter[] = []): Words | undefined {
  const found = wordsOf(session, adapters);
  if (found.length === 0) return undefined;
  const known = words.get(adapters) ?? new Words(found);
  words.set(adapters, known);
  return known;
}

function reader({ tokenizer, config }: Session) {
  return { tokenizer, vocabSize: config.text.vocabSize };
}

async function encodeTexts(session: Session, texts: readonly ReadPrompt[], { chunks: least = 1, adapters = [] }: Reading, signal?: AbortSignal): Promise<EncodedTexts> {
  session.assertUsable();
  const { maxLength } = session.tokenizer;
  const { hiddenSize: width } = session.config.text;
  const most = Math.max(least, ...texts.map(({ chunks }) => chunks.length));
  const size = maxLength * width;
  const data = new Float32Array(texts.length * most * size);
  const done = new Map<string, Float32Array>();
  // Two concepts may have learned different embeddings for one token.
  const numbers = new Map<unknown, number>();
  const numberOf = (embedding: unknown) => numbers.get(embedding) ?? (numbers.set(embedding, numbers.size), numbers.size - 1);
  const empty = emptyChunk(session.tokenizer);
  for (const [i, { chunks, learned }] of texts.entries()) {
    const changing = nativeAdapters(session, adapters[i] ?? []);
    for (let k = 0; k < most; k++) {
      const { ids, weights } = chunks[k] ?? empty;
      const key = JSON.stringify([...ids, weights, learned.map(({ embedding }) => numberOf(embedding)), changing?.map(({ adapter, weight }) => [numberOf(adapter), weight])]);
      let states = done.get(key);
      if (!states) {
        const replace = learned.length === 0 ? {} : replacement(session, learned, width);
        states = await session.job(signal, (abort) => session.model.encodeText(ids, 1, { abort, ...replace, ...(changing && { adapters: changing }) }));
        if (weights) states = weighStates(states, weights);
        done.set(key, states);
      }
      data.set(states, (i * most + k) * size);
    }
  }
  const unused = texts.flatMap(({ adapters }) => unusedAdapters(adapters));
  return { data, shape: [texts.length, most * maxLength, width], warnings: [...texts.flatMap(({ warnings }) => warnings), ...unused], named: texts.map(({ used }) => used) };
}

function unusedAdapters(adapters: readonly AdapterReference[]): Warning[] {
  if (adapters.length === 0) return [];
  return [{ code: 'adapter-unused', message: `The prompt asks for ${brief(adapters.map(({ name }) => `<lora:${name}>`).join(', '))}, and no adapters are loaded from prompts here: the rest of it is drawn.` }];
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
