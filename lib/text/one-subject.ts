/** A prompt of several subjects as one of some of them: "a V1* cat next to a V2* owl in a room" is "a V1* cat in a room". */
import type { Subject } from '../concept-file/types';
import { identifierKey } from './identifier-key';
import { identifierMatches, withoutIdentifiers } from './prompt';

const ARTICLE = /(?<![\p{L}\p{M}\p{N}])(?:an?|the|one|my|your|his|her|their|our)\s+$/iu;
/** What stands between two of a list. */
const JOINT = /^(?:\s*,(?:\s*and)?|\s+(?:and|with|beside|near|behind|above|below|over|under|underneath|beneath|next to|on top of|in front of|(?:to|on) the (?:left|right) of))\s+$/iu;
/** Articles and joints are short, whatever white space there is in a text. */
const SHORT = 64;

interface Phrase {
  readonly dropped: boolean;
  readonly start: number;
  readonly end: number;
}

/**
 * The text without the phrases (article, identifier, category) of `dropped`, some of `subjects`, and without what joined them to their
 * neighbours. A phrase that is joined to none that stays loses its identifier alone, but where all subjects are dropped it goes, with "of"
 * before it: "a photo of a V1* cat in a room" is "a photo in a room". In Unicode's form NFC.
 */
export function withoutSubjects(given: string, subjects: readonly Subject[], dropped: readonly Subject[]): string {
  const text = given.normalize('NFC');
  const gone = new Set(dropped.map(({ identifier }) => identifierKey(identifier)));
  const byKey = new Map(subjects.map((subject) => [identifierKey(subject.identifier), subject]));
  const phrases: Phrase[] = [];
  for (const { 0: found, index } of identifierMatches(text, subjects)) {
    const subject = byKey.get(identifierKey(found));
    if (subject === undefined) continue;
    const article = ARTICLE.exec(text.slice(Math.max(index - SHORT, 0), index))?.[0].length ?? 0;
    phrases.push({ dropped: gone.has(identifierKey(found)), start: index - article, end: endOfNoun(text, index + found.length, subject.category) });
  }
  const everyone = subjects.every(({ identifier }) => gone.has(identifierKey(identifier)));
  let result = '';
  let done = 0;
  for (const list of listsOf(text, phrases)) {
    const [first, last] = [list[0]!, list.at(-1)!];
    const before = text.slice(done, first.start);
    done = last.end;
    let kept = '';
    list.forEach((phrase, i) => {
      if (phrase.dropped) return;
      const joint = kept === '' ? '' : text.slice(list[i - 1]!.end, phrase.start);
      kept += joint + text.slice(phrase.start, phrase.end);
    });
    if (kept !== '') result += before + kept;
    else result += everyone ? before.replace(/(?:(?<![\p{L}\p{M}\p{N}])of)? ?$/iu, '').trimEnd() : before + text.slice(first.start, last.end);
  }
  return withoutIdentifiers(result + text.slice(done), subjects, dropped).trim();
}

function endOfNoun(text: string, end: number, category: string): number {
  const noun = category.normalize('NFC').toLowerCase();
  const space = /^\s{1,8}/u.exec(text.slice(end, end + 8))?.[0].length ?? 0;
  const word = text.slice(end + space, end + space + noun.length);
  return space > 0 && word.toLowerCase() === noun ? end + space + noun.length : end;
}

/** Phrases that are joined to one another. */
function listsOf(text: string, phrases: readonly Phrase[]): Phrase[][] {
  const lists: Phrase[][] = [];
  for (const phrase of phrases) {
    const last = lists.at(-1);
    const end = last?.at(-1)!.end ?? 0;
    if (last && phrase.start - end <= SHORT && JOINT.test(text.slice(end, phrase.start))) last.push(phrase);
    else lists.push([phrase]);
  }
  return lists;
}
