import { ConesError } from '../errors';

/**
 * Lines of UTF-8, as they come: without their ends, without a byte order mark, a last one with or without an end.
 * @param most characters of a line
 * @throws ConesError CONES_OPTION_INVALID for a longer line, or what is no UTF-8
 */
export async function* linesOf(chunks: AsyncIterable<Uint8Array | string> | Iterable<Uint8Array | string>, most = 2 ** 20): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  /** Of a line that has no end yet. */
  let parts: string[] = [];
  let length = 0;
  const add = (part: string) => {
    length += part.length;
    if (length > most) throw new ConesError('CONES_OPTION_INVALID', `A line is longer than ${most} characters: give a prompt a line.`);
    parts.push(part);
  };
  const take = (): string => {
    const line = parts.join('');
    [parts, length] = [[], 0];
    return line.endsWith('\r') ? line.slice(0, -1) : line;
  };
  for await (const chunk of chunks) {
    const text = typeof chunk === 'string' ? chunk : decoded(() => decoder.decode(chunk, { stream: true }));
    let begin = 0;
    for (let end; (end = text.indexOf('\n', begin)) >= 0; begin = end + 1) {
      add(text.slice(begin, end));
      yield take();
    }
    add(text.slice(begin));
  }
  add(decoded(() => decoder.decode()));
  if (length > 0) yield take();
}

function decoded(decode: () => string): string {
  try {
    return decode();
  } catch (cause) {
    throw new ConesError('CONES_OPTION_INVALID', 'The prompts are no UTF-8 text: save them as one.', { cause });
  }
}
