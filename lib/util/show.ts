/** Foreign values and texts in messages: short, on one line, and without what a terminal or a log would obey. */
import { inspect, types } from 'node:util';

/** Characters of a value. */
const LONGEST = 80;
/** Characters of a path, a name or somebody else's message: a line. */
const LINE = 240;
/** Entries of an object or a list: more of them could not be shown. */
const MOST_ENTRIES = 10;

/** A value as a message shows it, whatever it is, without an error of its own (`${value}` throws for a symbol). */
export function show(value: unknown): string {
  const text =
    typeof value === 'string'
      ? JSON.stringify(value.slice(0, LONGEST))
      : inspect(outline(value, 2), { customInspect: false, compact: true, depth: 2, breakLength: Infinity, maxArrayLength: MOST_ENTRIES, maxStringLength: LONGEST });
  const line = visible(oneLine(text.slice(0, 10 * LONGEST)));
  return line.length <= LONGEST ? line : `${line.slice(0, LONGEST - 3)}...`;
}

/** A text of others in a message: a path, a key, what another library says. What is too long loses its middle. */
export function brief(text: string): string {
  return shortened(visible(oneLine(shortened(text, 10 * LINE))), LINE);
}

/** `text` without its middle where it has more than `most` characters: its end says as much as its beginning. */
export function shortened(text: string, most: number): string {
  if (text.length <= most) return text;
  const mark = ' … ';
  const end = Math.floor(most / 3);
  return text.slice(0, most - end - mark.length) + mark + text.slice(text.length - end);
}

/** Moves the cursor, ends the line or reorders the text. A tab does no harm. */
const COMMANDS = /(?!\t)[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;

/** Texts come from files of others (concepts, pictures' metadata): in a terminal some characters are commands, so they are escaped. */
export function visible(text: string): string {
  return text.replace(COMMANDS, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** Line ends, with the white space around them, become one space. No regular expression, which would go back and forth in long white space. */
export function oneLine(text: string): string {
  return text.includes('\n') ? text.split('\n').map((line) => line.trim()).join(' ') : text;
}

/** What something that was thrown says. Not `instanceof Error`: it may come from another realm (Jest, node:vm). */
export function reason(cause: unknown): string {
  if (typeof cause === 'string') return cause;
  try {
    const { message } = Object(cause) as { message?: unknown };
    if (typeof message === 'string') return message;
  } catch {
    // Its message is code that fails, too.
  }
  return show(cause);
}

/** The first entries of plain objects and lists: `inspect` would write out a million of them to have most cut off. Runs no getter. */
function outline(value: unknown, depth: number): unknown {
  const isPlain = typeof value === 'object' && value !== null && !types.isProxy(value) && PLAIN.includes(Object.getPrototypeOf(value));
  if (!isPlain || depth < 0 || (Array.isArray(value) && value.length > MOST_ENTRIES)) return value;
  const copy = Array.isArray(value) ? [] : {};
  for (const key of [...Object.keys(value).slice(0, MOST_ENTRIES + 1), ...Object.getOwnPropertySymbols(value)]) {
    const property = Object.getOwnPropertyDescriptor(value, key)!;
    Object.defineProperty(copy, key, 'value' in property ? { ...property, value: outline(property.value, depth - 1) } : property);
  }
  return copy;
}

const PLAIN: readonly unknown[] = [Object.prototype, Array.prototype];
