/**
 * Fuzzing that coverage leads on: an input that reaches what none before it did is kept, and later ones are made from it. As libFuzzer
 * does for native code, with the statements and branches that istanbul counts.
 */
import { CountedLibrary } from '../../steps';

export interface Target {
  /** Sound inputs, to begin with. */
  readonly seeds: readonly string[];
  /** Words of the format, which chance would not find. */
  readonly words: readonly string[];
  /** Reads an input; what it throws is a finding. */
  readonly read: (input: string, library: CountedLibrary) => unknown;
}

/** A corpus is kept small. */
const MOST_INPUTS = 2000;
const LONGEST = 4096;

/**
 * @param more whether to go on after so many inputs
 * @returns how many inputs were tried, and how many reached something new
 */
export async function fuzz(target: Target, random: () => number, more: (tried: number) => boolean): Promise<{ tried: number; kept: number }> {
  const library = new CountedLibrary();
  const seen = new Set<string>();
  const corpus: string[] = [];
  const attempt = async (input: string): Promise<void> => {
    const reached = await library.reached(() => Promise.resolve().then(() => target.read(input, library)).catch((error: unknown) => {
      throw new Error(`The input ${JSON.stringify(input)} is a finding: ${String((error as Error).stack ?? error)}`);
    }));
    const fresh = reached.filter((place) => !seen.has(place));
    fresh.forEach((place) => seen.add(place));
    if (fresh.length > 0 && corpus.length < MOST_INPUTS) corpus.push(input);
  };
  for (const seed of target.seeds) await attempt(seed);
  let tried = 0;
  for (; more(tried); tried++) await attempt(mutate(corpus, target.words, random));
  return { tried, kept: corpus.length };
}

/** One to four changes of an input that is known. */
function mutate(corpus: readonly string[], words: readonly string[], random: () => number): string {
  const below = (end: number) => Math.floor(random() * end);
  const pick = <T>(list: readonly T[]): T => list[below(list.length)]!;
  let text = pick(corpus);
  for (let n = 1 + below(4); n > 0; n--) {
    const at = below(text.length + 1);
    const end = Math.min(text.length, at + below(random() < 0.8 ? 8 : 200));
    const other = pick(corpus);
    const put = pick<() => string>([
      () => '',
      () => pick(words),
      () => String.fromCharCode(below(random() < 0.9 ? 128 : 65_536)),
      () => pick(['0', '-1', '1e308', '4294967296', '9007199254740993', 'null', 'true', '""', '[]', '{}', '\\u0000', '\ud800']),
      () => text.slice(at, end).repeat(2),
      () => other.slice(below(other.length + 1)).slice(0, below(200)),
    ])();
    text = text.slice(0, at) + put + text.slice(end);
  }
  return text.slice(0, LONGEST);
}
