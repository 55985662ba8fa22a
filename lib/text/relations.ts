/** Where a prompt says that its subjects are. */
import type { Subject } from '../concept-file/types';
import { mentions } from './prompt';

type Box = readonly [x0: number, y0: number, x1: number, y1: number];

/**
 * A box for each subject that the prompt names: equal columns from left to right in the prompt's order, but "to the right of" puts what was
 * named first on the right of what comes next; of two subjects one that is "above" or "below" the other has the upper or lower half.
 * None where fewer than two, or more than `most`, are named.
 */
export function placeByWords(prompt: string, subjects: readonly Subject[], most: number): Map<Subject, Box> {
  const named = mentions(prompt, subjects);
  if (named.length < 2 || named.length > most) return new Map();
  const between = (i: number) => prompt.normalize('NFC').slice(named[i - 1]!.end, named[i]!.start);
  if (named.length === 2) {
    const [first, second] = named.map(({ subject }) => subject) as [Subject, Subject];
    const [upper, lower]: Box[] = [[0, 0, 1, 0.5], [0, 0.5, 1, 1]];
    if (/\b(?:above|on top of|over)\b/i.test(between(1))) return new Map([[first, upper!], [second, lower!]]);
    if (/\b(?:below|beneath|under|underneath)\b/i.test(between(1))) return new Map([[first, lower!], [second, upper!]]);
  }
  const order: Subject[] = [];
  for (const [i, { subject }] of named.entries()) {
    const right = i > 0 && /\bright of\b/i.test(between(i));
    order.splice(right ? order.indexOf(named[i - 1]!.subject) : order.length, 0, subject);
  }
  return new Map(order.map((subject, i) => [subject, [i / order.length, 0, (i + 1) / order.length, 1]]));
}
