/**
 * The prompt language of stable-diffusion-webui (AUTOMATIC1111), whose `parse_prompt_attention` the tests quote: `(word)` weighs 1.1,
 * `(word:1.3)` 1.3, `[word]` 1 / 1.1, brackets within brackets multiply; `\(` is a bracket of the text; BREAK ends a chunk (chunks.ts).
 * A bracket that nothing closes reaches to the end, one that closes nothing is text.
 */
import { ConesError } from '../errors';
import { brief } from '../util/show';
import type { PromptPiece } from './prompt';

export interface WeightedPiece extends PromptPiece {
  readonly weight: number;
}

export const BREAK = 'BREAK';

const ROUND = 1.1;
const SQUARE = 1 / 1.1;

/** Each part of a prompt is multiplied once for each bracket around it. */
const MOST_OPEN = 64;
const MOST_WEIGHT = 100;

/** A sign, or text up to the next one. A colon before a number and `]` is looked at ahead, `:1.3)` is one sign. */
const SIGNS = /\\[\\()[\]]?|[()[\]]|:([+-]?[.\d]+)\)|(:)(?=\s*[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?\])|[^\\()[\]:]+|:/giu;

/** Words in capitals that mean something, as Python's `\b` bounds them. */
const BREAK_WORD = /(?<![\p{L}\p{N}_])BREAK(?![\p{L}\p{N}_])/u;
const AND_WORD = /(?<![\p{L}\p{N}_])AND(?![\p{L}\p{N}_])/u;

interface Bracket {
  /** The first part within. */
  readonly start: number;
  /** Brackets opened before it. */
  readonly order: number;
  readonly at: string;
  /** There is a `|` within, but not within another bracket. */
  alternates?: boolean;
}

/**
 * The parts of a prompt with their weights, neighbours of one weight as one. Subjects' words are parts of their own.
 * @throws ConesError CONES_OPTION_INVALID for weights that are none, and for what is not drawn here: `[a:b:0.5]`, `[a|b]`
 */
export function weighPieces(pieces: readonly PromptPiece[]): (WeightedPiece | typeof BREAK)[] {
  const parts: { text: string; weight: number; subject?: PromptPiece['subject']; ends?: true }[] = [];
  const [round, square]: [Bracket[], Bracket[]] = [[], []];
  let order = 0;
  const multiply = (from: number, factor: number) => {
    for (let i = from; i < parts.length; i++) parts[i]!.weight *= factor;
  };
  const open = (brackets: Bracket[], at: string) => {
    if (round.length + square.length === MOST_OPEN) throw invalid(`more than ${MOST_OPEN} brackets of the prompt are open at once: close them, or write "\\(" for the sign`);
    brackets.push({ start: parts.length, order: order++, at });
  };
  /** The square bracket, where no round one was opened in it that is still open. */
  const innermostSquare = () => (square.length > 0 && square.at(-1)!.order > (round.at(-1)?.order ?? -1) ? square.at(-1) : undefined);

  for (const { text: piece, subject } of pieces) {
    if (subject) {
      parts.push({ text: piece, weight: 1, subject });
      continue;
    }
    for (const { 0: found, 1: number, 2: scheduled, index } of piece.matchAll(SIGNS)) {
      const at = () => piece.slice(index, index + 40);
      if (found.startsWith('\\')) {
        parts.push({ text: found.length > 1 ? found[1]! : '', weight: 1 });
      } else if (found === '(') {
        open(round, at());
      } else if (found === '[') {
        open(square, at());
      } else if (number !== undefined && round.length > 0) {
        multiply(round.pop()!.start, weightOf(number));
      } else if (found === ')' && round.length > 0) {
        multiply(round.pop()!.start, ROUND);
      } else if (found === ']' && square.length > 0) {
        if (innermostSquare()?.alternates) throw changing(square.at(-1)!.at);
        multiply(square.pop()!.start, SQUARE);
      } else {
        const inner = innermostSquare();
        if (inner && scheduled) throw changing(inner.at);
        if (inner && found.includes('|')) inner.alternates = true;
        found.split(BREAK_WORD).forEach((text, i) => {
          if (i > 0) parts.push({ text: '', weight: 1, ends: true });
          parts.push({ text, weight: 1 });
        });
      }
    }
  }
  for (const { start } of round) multiply(start, ROUND);
  for (const { start } of square) multiply(start, SQUARE);

  const merged: (WeightedPiece | typeof BREAK)[] = [];
  let run: string[] = [];
  parts.forEach(({ text, weight, subject, ends }, i) => {
    if (ends) return void merged.push(BREAK);
    if (!(Math.abs(weight) <= MOST_WEIGHT)) throw invalid(`"${brief(text)}" weighs ${weight}: give weights from -${MOST_WEIGHT} to ${MOST_WEIGHT}`);
    if (subject) return void merged.push({ text, weight, subject });
    run.push(text);
    const next = parts[i + 1];
    if (next && !next.ends && !next.subject && next.weight === weight) return;
    merged.push({ text: run.join(''), weight });
    run = [];
  });
  return merged;
}

/** Several prompts in one, each with its own guidance. @throws ConesError CONES_OPTION_INVALID */
export function refuseAnd(prompt: string): void {
  if (AND_WORD.test(prompt)) {
    throw invalid('several prompts joined by AND are not drawn here: write one prompt, with "and" in small letters where you mean the word');
  }
}

/** A plain text as this language writes it: its brackets are signs of the text. */
export function escapeWeights(text: string): string {
  return text.replace(/[\\()[\]]/g, '\\$&');
}

function weightOf(text: string): number {
  const weight = Number(text);
  if (!Number.isFinite(weight)) throw invalid(`the weight "${brief(text)}" is no number: write one such as (word:1.3)`);
  return weight;
}

function changing(at: string): ConesError {
  return invalid(`"${brief(at)}" changes the prompt from step to step, which is not drawn here: keep one of its texts, or write "\\[" for the sign`);
}

function invalid(problem: string): ConesError {
  return new ConesError('CONES_OPTION_INVALID', `prompt: ${problem}.`);
}
