import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import type { Subject } from '../concept-file/types';
import { ConesError } from '../errors';
import { identifierKey, inNfc } from './identifier-key';
import { invalid } from '../models/parse';
import { readJson } from '../models/read-json';
import { brief, show } from '../util/show';
import type { Warning } from '../warning';
import { findWeightingSyntax } from './weighting-syntax';

/** A part of a prompt; `subject`: it is the rare token of this one, and nothing else. */
export interface PromptPiece {
  readonly text: string;
  readonly subject?: Subject;
}

export interface ResolvedPrompt {
  /** The prompt as the text encoder sees it: identifiers replaced by their rare tokens. */
  readonly text: string;
  /** The same in pieces, which tell where a subject was named: a rare token may also be somebody else's, or a word of the prompt. */
  readonly pieces: readonly PromptPiece[];
  /** The subjects that the prompt names, in the order of `subjects`. */
  readonly used: readonly Subject[];
  readonly warnings: readonly Warning[];
}

/** A prompt is searched for all of their names at every place. */
const MOST_SUBJECTS = 256;

/** Names that a prompt of any length is warned about. */
const MOST_WARNINGS = 16;

/** What is not a subject's identifier, but looks like one: `V9*`, `<my-dog>`. */
const LOOKS_LIKE_IDENTIFIER = /(?<![\p{L}\p{N}])V\d+\*|<[\p{L}\p{N}_-]+>/giu;

/** No tokenizer: none of a prompt's words is one that was added to it. */
const NO_WORDS = (): boolean => false;

/**
 * Replaces the identifiers in a prompt (`V1*`, `<my-cat>`, in any case and Unicode form) by the rare tokens that the
 * search bound them to.
 * @param isWord whether the tokenizer has a word of that name, which textual inversion added
 * @param weighted whether brackets are read as weights (emphasis.ts); else there is a warning about them
 * @throws ConesError CONES_PROMPT_EMPTY; a negative prompt, which may be empty, goes through {@link resolveText}.
 */
export function resolvePrompt(prompt: string, subjects: readonly Subject[], isWord: (word: string) => boolean = NO_WORDS, weighted = false): ResolvedPrompt {
  // White space as the tokenizer has it.
  if (!/\P{White_Space}/u.test(prompt)) {
    throw new ConesError('CONES_PROMPT_EMPTY', 'The prompt is empty; say what to draw, such as "a V1* cat on a beach".');
  }
  return resolveText(prompt, subjects, isWord, weighted);
}

/** The same for a text that may be empty. */
export function resolveText(prompt: string, subjects: readonly Subject[], isWord: (word: string) => boolean = NO_WORDS, weighted = false): ResolvedPrompt {
  const byIdentifier = new Map(subjects.map((subject) => [identifierKey(subject.identifier), subject]));
  const used = new Set<Subject>();
  const words = new Set<string>();
  const unknown = new Set<string>();
  const warnings: Warning[] = [];
  const warnUnlessWord = (found: string): void => {
    if (words.has(found) || unknown.has(found) || unknown.size >= MOST_WARNINGS) return;
    if (isWord(found)) {
      words.add(found);
      return;
    }
    unknown.add(found);
    const known = subjects.length ? ` (they have ${brief(subjects.map((s) => s.identifier).join(', '))})` : '';
    warnings.push({
      code: 'unknown-identifier',
      message: `"${brief(found)}" is not an identifier of the given concepts${known}; it is read as plain text.`,
    });
  };
  const normalized = prompt.normalize('NFC');
  const pieces: PromptPiece[] = [];
  let [end, space] = [0, ''];
  for (const { 0: found, index } of normalized.matchAll(identifierPattern(subjects))) {
    const subject = byIdentifier.get(identifierKey(found));
    if (subject === undefined) {
      warnUnlessWord(found);
      continue;
    }
    used.add(subject);
    // "V1*cat" is two words.
    const before = /[\p{L}\p{N}]$/u.test(normalized.slice(Math.max(index - 2, 0), index)) ? ' ' : '';
    pieces.push({ text: `${space}${normalized.slice(end, index)}${before}` }, { text: subject.token, subject });
    end = index + found.length;
    space = /^[\p{L}\p{N}]/u.test(normalized.slice(end, end + 2)) ? ' ' : '';
  }
  pieces.push({ text: `${space}${normalized.slice(end)}` });
  const text = pieces.map((piece) => piece.text).join('');
  const named = subjects.filter((subject) => used.has(subject));
  const weighting = weighted ? [] : findWeightingSyntax(normalized, (found) => byIdentifier.has(identifierKey(found)) || isWord(found));
  return { text, pieces, used: named, warnings: [...warnings, ...sharedTokens(named), ...weightingWarning(weighting)] };
}

/** Identifiers of subjects, and what looks like one, in a text in Unicode's form NFC. */
export function identifierMatches(text: string, subjects: readonly Subject[]): Iterable<RegExpExecArray> {
  return text.matchAll(identifierPattern(subjects));
}

/** Where a text, in Unicode's form NFC, names subjects: the first time of each, in the text's order. */
export function mentions(text: string, subjects: readonly Subject[]): { readonly subject: Subject; readonly start: number; readonly end: number }[] {
  const byIdentifier = new Map(subjects.map((subject) => [identifierKey(subject.identifier), subject]));
  const found = new Map<Subject, { start: number; end: number }>();
  for (const match of text.normalize('NFC').matchAll(identifierPattern(subjects))) {
    const subject = byIdentifier.get(identifierKey(match[0]));
    if (subject && !found.has(subject)) found.set(subject, { start: match.index, end: match.index + match[0].length });
  }
  return [...found].map(([subject, at]) => ({ subject, ...at }));
}

/** The text without the identifiers of `dropped`, some of `subjects`: "an V2* owl" is "an owl". In Unicode's form NFC. */
export function withoutIdentifiers(text: string, subjects: readonly Subject[], dropped: readonly Subject[]): string {
  const keys = new Set(dropped.map(({ identifier }) => identifierKey(identifier)));
  const pattern = new RegExp(`(?:(?<![\\p{L}\\p{M}\\p{N}])(an?) )?(${identifierPattern(subjects).source}) ?`, 'giu');
  return text.normalize('NFC').replace(pattern, (whole: string, article: string | undefined, found: string, position: number, all: string) => {
    if (!keys.has(identifierKey(found))) return whole;
    if (article === undefined) return '';
    const fitting = indefiniteArticle(all.slice(position + whole.length));
    return `${article.startsWith('A') ? fitting.replace('a', 'A') : fitting} `;
  });
}

/** Whether a caption has the subject's identifier. */
export function namesSubject(caption: string, subject: Subject): boolean {
  return resolvePrompt(caption, [subject]).used.length > 0;
}

/**
 * The caption with the identifier before the first mention of the category, unless it has it; as it is where it mentions neither.
 * In Unicode's form NFC.
 */
export function withIdentifier(text: string, category: string, identifier: string): string {
  const caption = text.normalize('NFC');
  if (namesSubject(caption, { identifier, category, token: identifier })) return caption;
  const mention = new RegExp(`(?<![\\p{L}\\p{M}\\p{N}])(?:(an?) )?(${literal(category.normalize('NFC'))})(?![\\p{L}\\p{M}\\p{N}])`, 'iu');
  return caption.replace(mention, (_, article: string | undefined, noun: string) => {
    const named = `${identifier} ${noun}`;
    if (article === undefined) return named;
    const fitting = indefiniteArticle(named);
    return `${article.startsWith('A') ? fitting.replace('a', 'A') : fitting} ${named}`;
  });
}

/** Longest first, so that `V1*-old` goes before `V1*`; then anything that looks like an identifier. */
function identifierPattern(subjects: readonly Subject[]): RegExp {
  const names = subjects.map((subject) => subject.identifier.normalize('NFC')).sort((a, b) => b.length - a.length);
  return new RegExp([...names.map(wordPattern), LOOKS_LIKE_IDENTIFIER.source].join('|'), 'giu');
}

/** A text where it is no part of a longer word. */
function wordPattern(text: string): string {
  const start = /^[\p{L}\p{M}\p{N}]/u.test(text) ? '(?<![\\p{L}\\p{M}\\p{N}])' : '';
  const end = /[\p{L}\p{M}\p{N}]$/u.test(text) ? '(?![\\p{L}\\p{M}\\p{N}])' : '';
  return `${start}${literal(text)}${end}`;
}

/** A word as a text has it, in any case and Unicode form; undefined where it does not. */
export function findWord(text: string, word: string): string | undefined {
  return new RegExp(wordPattern(word.normalize('NFC')), 'iu').exec(text.normalize('NFC'))?.[0];
}

/** A text as a pattern that matches nothing else. */
function literal(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
}

function weightingWarning(found: readonly string[]): Warning[] {
  if (found.length === 0) return [];
  const message = `${found.map((example) => show(example)).join(', ')} is read as plain text: draw with promptSyntax: 'weighted' (--prompt-syntax weighted), or say it in words and leave the signs out.`;
  return [{ code: 'weighting-syntax', message }];
}

/** Whether the text encoder sees the same for both; a learned embedding stands for its subject alone. */
export function sharesToken(a: Subject, b: Subject): boolean {
  return !a.embedding && !b.embedding && identifierKey(a.token) === identifierKey(b.token);
}

function sharedTokens(subjects: readonly Subject[]): Warning[] {
  return subjects.flatMap((subject, i) => {
    const other = subjects.slice(0, i).find((s) => sharesToken(s, subject));
    if (other === undefined) return [];
    const message =
      `${other.identifier} and ${subject.identifier} are bound to the same rare token "${subject.token}" and have no learned embedding, so the ` +
      'model cannot tell them apart; search one of them again with another token, or with learnEmbedding.';
    return [{ code: 'shared-token', message } as const];
  });
}

/**
 * All subjects of several concepts, each once. Identifiers are the same in any case and Unicode form, as in prompts.
 * @throws ConesError CONES_OPTION_INVALID when two of them mean different things by one identifier.
 */
export function joinSubjects(concepts: readonly { readonly subjects: readonly Subject[] }[]): Subject[] {
  const joined = new Map<string, Subject>();
  for (const subject of concepts.flatMap((concept) => concept.subjects)) {
    const key = identifierKey(subject.identifier);
    const known = joined.get(key);
    if (known === undefined) {
      joined.set(key, subject);
    } else if (!isDeepStrictEqual(comparable(known), comparable(subject))) {
      throw new ConesError(
        'CONES_OPTION_INVALID',
        `Two concepts use the identifier "${subject.identifier}", for the ${known.category} "${known.token}" and for ` +
          `the ${subject.category} "${subject.token}"${known.token === subject.token ? ' with another learned embedding or category' : ''}. ` +
          'Give one of them another name here: concept.withIdentifier("V2*"), or --concept FILE.cones=V2* on the command line.',
      );
    }
  }
  if (joined.size > MOST_SUBJECTS) {
    throw new ConesError('CONES_OPTION_INVALID', `The concepts have ${joined.size} subjects; draw up to ${MOST_SUBJECTS} at once.`);
  }
  return [...joined.values()];
}

/** A subject as {@link joinSubjects} compares it: what is typed in one Unicode form or the other is the same. */
function comparable(subject: Subject): Subject {
  return { ...inNfc(subject), identifier: identifierKey(subject.identifier) };
}

/**
 * Words that are one token in CLIP's vocabulary and mean next to nothing to Stable Diffusion, as the
 * rare tokens of DreamBooth and Custom Diffusion.
 */
export const RARE_TOKENS: readonly string[] = [
  ...['sks', 'ucd', 'mth', 'pll', 'rcn', 'hta', 'ulf', 'omd', 'wbo', 'pff', 'kts', 'izz'],
  ...['pbc', 'mwf', 'bsp', 'szn', 'snf', 'mgt', 'ccd', 'pln', 'yql', 'fnc', 'mtr', 'tvc'],
];

/** A folder may name the rare tokens that suit its model: `identifiers.json`, `{"identifiers": ["sks", …]}`. */
export async function readRareTokens(modelFolder: string): Promise<readonly string[]> {
  const file = path.join(modelFolder, 'identifiers.json');
  let json: unknown;
  try {
    json = await readJson(file);
  } catch (error) {
    if (error instanceof ConesError && error.code === 'CONES_MODEL_NOT_FOUND') return RARE_TOKENS;
    throw error;
  }
  const parsed = z.object({ identifiers: z.array(z.string().regex(/^\p{L}+$/u)).min(1).max(10_000) }).safeParse(json);
  if (!parsed.success) throw invalid(file, '"identifiers" must be a list of words');
  return parsed.data.identifiers;
}

/**
 * The first rare token that no other subject uses.
 * @param tokenizer Only words that it knows as one token are rare tokens.
 * @throws ConesError CONES_OPTION_INVALID when none is left.
 */
export function freeToken(
  tokenizer: { tokenId(word: string): number | null },
  candidates: readonly string[],
  taken: Iterable<string>,
): string {
  const used = new Set(Array.from(taken, (token) => tokenizer.tokenId(token)));
  const known = candidates.filter((word) => tokenizer.tokenId(word) !== null);
  const token = known.find((word) => !used.has(tokenizer.tokenId(word)));
  if (token === undefined) {
    throw new ConesError(
      'CONES_OPTION_INVALID',
      known.length === 0
        ? 'This model has none of the usual rare words as one token; name a word that is one, with the option token.'
        : `All ${known.length} rare tokens are taken by other subjects; name another word that is one token, with the option token.`,
    );
  }
  return token;
}

/** "photo of a V1* cat", the paper's training prompt (App. C.4). */
export function subjectCaption(identifier: string, category: string): string {
  return `photo of a ${identifier} ${category}`;
}

/** "photo of a cat", "photo of an owl": the prior's prompt. */
export function priorCaption(category: string): string {
  return `photo of ${indefiniteArticle(category)} ${category}`;
}

/** "a" or "an", by the sound that spelling suggests. */
export function indefiniteArticle(phrase: string): 'a' | 'an' {
  if (/^(?:uni(?!n|m)|us[aei]|u[kr][aeiu]|eu|ewe|one|once)/i.test(phrase)) return 'a';
  return /^(?:[aeiou]|hour|honest|honou?r|heir)/i.test(phrase) ? 'an' : 'a';
}
