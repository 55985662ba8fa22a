/** From a prompt to what the text encoder is given: chunks of tokens with weights. */
import type { Subject } from '../concept-file/types';
import { brief } from '../util/show';
import type { Warning } from '../warning';
import { type AdapterReference, takeAdapterTags } from './adapter-tags';
import { type ChunkToken, cutIntoChunks, MOST_CHUNKS, type Unit } from './chunks';
import { BREAK, refuseAnd, weighPieces } from './emphasis';
import { encodeWithOwnTokens, ownToken } from './own-tokens';
import { joinSubjects, type ResolvedPrompt, resolvePrompt, resolveText } from './prompt';
import type { PromptSyntax } from './prompt-syntax';
import type { Tokenizer } from './tokenizer';
import type { Words } from './words';

/** What is read; a negative prompt has no `<lora:…>` and no AND. */
export type TextKind = 'prompt' | 'negative prompt';

export interface TextChunk {
  /** [T], those of subjects with a learned embedding among them (own-tokens.ts). */
  readonly ids: Int32Array;
  /** [T]; undefined where all are 1. */
  readonly weights?: readonly number[];
}

export interface ReadPrompt {
  readonly chunks: readonly TextChunk[];
  /** The subjects that it names. */
  readonly used: readonly Subject[];
  /** Those of them with a learned embedding: the i-th has the i-th own token. */
  readonly learned: readonly Subject[];
  readonly adapters: readonly AdapterReference[];
  readonly warnings: readonly Warning[];
}

export interface ReadOptions {
  readonly syntax: PromptSyntax;
  readonly kind: TextKind;
  /** Whether nothing is a text, too. */
  readonly mayBeEmpty: boolean;
  readonly tokenizer: Tokenizer;
  readonly vocabSize: number;
  /** Of textual inversion. */
  readonly words?: Words | undefined;
}

/** @throws ConesError CONES_PROMPT_EMPTY, CONES_OPTION_INVALID */
export function readPrompt(prompt: string, subjects: readonly Subject[], options: ReadOptions): ReadPrompt {
  const { syntax, kind, mayBeEmpty, tokenizer, words } = options;
  const weighted = syntax === 'weighted';
  const { text, adapters } = weighted && kind === 'prompt' ? takeAdapterTags(prompt) : { text: prompt, adapters: [] };
  if (weighted && kind === 'prompt') refuseAnd(text);
  const resolve = mayBeEmpty || adapters.length > 0 ? resolveText : resolvePrompt;
  const all = words ? joinSubjects([{ subjects }, words]) : subjects;
  const named = resolve(text, all, (word) => tokenizer.hasWord(word), weighted);
  const resolved = words ? words.expand(named) : named;
  const learned = resolved.used.filter(({ embedding }) => embedding);
  const { chunks, cut } = weighted ? weightedChunks(resolved, learned, options) : plainChunk(resolved, learned, options);
  const warnings = cut === '' ? resolved.warnings : [...resolved.warnings, truncated(cut, options)];
  return { chunks, used: resolved.used, learned, adapters, warnings };
}

/** Chunks of nothing, which lengthen a shorter text: the UNet is given equally many states for prompt and negative prompt. */
export function emptyChunk(tokenizer: Tokenizer): TextChunk {
  return { ids: tokenizer.frame([]) };
}

interface Cut {
  readonly chunks: readonly TextChunk[];
  /** The end that is ignored. */
  readonly cut: string;
}

function plainChunk(resolved: ResolvedPrompt, learned: readonly Subject[], { tokenizer, vocabSize }: ReadOptions): Cut {
  const { ids, truncated: cut } = encodeWithOwnTokens(tokenizer, vocabSize, resolved, learned);
  return { chunks: [{ ids }], cut };
}

function weightedChunks({ pieces }: ResolvedPrompt, learned: readonly Subject[], { tokenizer, vocabSize }: ReadOptions): Cut {
  const room = tokenizer.maxLength - 2;
  function* units(): Generator<Unit | typeof BREAK> {
    for (const part of weighPieces(pieces)) {
      if (part === BREAK) {
        yield BREAK;
        continue;
      }
      const { text, weight, subject } = part;
      const own = subject === undefined ? -1 : learned.indexOf(subject);
      const found = tokenizer.units(text, room * MOST_CHUNKS).map((unit) => unit.map(({ id, token }): ChunkToken => ({ id: own < 0 ? id : ownToken(vocabSize, own), token, weight })));
      // A subject's word stays whole.
      if (subject && found.length > 0) yield found.flat();
      else yield* found;
    }
  }
  const { chunks, left } = cutIntoChunks(units(), { room, comma: tokenizer.vocabularyId(',</w>') });
  return { chunks: chunks.map((tokens) => frame(tokens, tokenizer)), cut: decode(left, tokenizer) };
}

function frame(tokens: readonly ChunkToken[], tokenizer: Tokenizer): TextChunk {
  const ids = tokenizer.frame(tokens.map(({ id }) => id));
  if (tokens.every(({ weight }) => weight === 1)) return { ids };
  const weights = Array.from(ids, () => 1);
  tokens.forEach(({ weight }, i) => (weights[i + 1] = weight));
  return { ids, weights };
}

/** Own tokens are not the tokenizer's: by what the vocabulary writes. */
function decode(tokens: readonly ChunkToken[], tokenizer: Tokenizer): string {
  return tokenizer.decode(tokens.map(({ token }) => ({ token, id: tokenizer.vocabularyId(token)! })));
}

function truncated(cut: string, { kind, syntax, tokenizer }: ReadOptions): Warning {
  const room = tokenizer.maxLength - 2;
  const message =
    syntax === 'plain'
      ? `The ${kind} is longer than ${room} tokens; this end of it is ignored: "${brief(cut)}". With promptSyntax: 'weighted' all of it is read.`
      : `The ${kind} is longer than ${MOST_CHUNKS} chunks of ${room} tokens; what follows is ignored: "${brief(cut)}".`;
  return { code: 'prompt-truncated', message };
}
