/**
 * Counts what code does instead of timing it: modules of lib/ are loaded with a counter at every statement (as for a coverage report),
 * and built-in searches, which take as long as what they look through, count as that many.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { createInstrumenter } from 'istanbul-lib-instrument';
import ts from 'typescript';

type Counters = Record<string, { readonly s: Record<string, number>; readonly b: Record<string, number[]> }>;

/** A library of its own, whose statements are counted. */
export class CountedLibrary {
  readonly #counters: Counters = {};
  readonly #modules = new Map<string, { exports: object }>();
  #builtin = 0;

  /** @param file from the repository's root, `lib/util/files.ts` */
  load<T extends object>(file: string): T {
    return this.#require(path.join(__dirname, '..', file)) as T;
  }

  /** Statements that `work` runs, and what it looks through. */
  async steps(work: () => unknown): Promise<number> {
    const before = this.#total();
    const restore = this.#countSearches();
    try {
      await work();
    } finally {
      restore();
    }
    return this.#total() - before;
  }

  /** The statements and branches that `work` runs, each with the power of two up to which it runs them. */
  async reached(work: () => unknown): Promise<string[]> {
    for (const { s, b } of Object.values(this.#counters)) {
      for (const key of Object.keys(s)) s[key] = 0;
      for (const taken of Object.values(b)) taken.fill(0);
    }
    await work();
    const often = (count: number) => Math.ceil(Math.log2(count));
    return Object.entries(this.#counters).flatMap(([file, { s, b }]) => [
      ...Object.entries(s).flatMap(([key, count]) => (count > 0 ? [`${file} ${key} ${often(count)}`] : [])),
      ...Object.entries(b).flatMap(([key, taken]) => taken.flatMap((count, i) => (count > 0 ? [`${file} ${key}.${i} ${often(count)}`] : []))),
    ]);
  }

  #total(): number {
    return Object.values(this.#counters).reduce((sum, { s }) => sum + Object.values(s).reduce((a, b) => a + b, 0), this.#builtin);
  }

  #require(file: string): object {
    const known = this.#modules.get(file);
    if (known) return known.exports;
    const { outputText } = ts.transpileModule(readFileSync(file, 'utf8'), {
      compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022, esModuleInterop: true },
    });
    const instrumenter = createInstrumenter({ coverageVariable: '__counters__', coverageGlobalScopeFunc: false, coverageGlobalScope: 'globalThis.counted', compact: true });
    const code = instrumenter.instrumentSync(outputText, file);
    const module = { exports: {} };
    this.#modules.set(file, module);
    const global = globalThis as { counted?: { __counters__: Counters } };
    global.counted = { __counters__: this.#counters };
    new Function('module', 'exports', 'require', '__dirname', code)(module, module.exports, this.#requireFrom(path.dirname(file)), path.dirname(file));
    return module.exports;
  }

  #requireFrom(folder: string) {
    return (name: string): unknown => {
      const file = path.join(folder, name);
      const found = [`${file}.ts`, path.join(file, 'index.ts')].find((candidate) => name.startsWith('.') && ts.sys.fileExists(candidate));
      // eslint-disable-next-line @typescript-eslint/no-require-imports -- packages, and JSON files
      return found === undefined ? (require(name.startsWith('.') ? file : name) as unknown) : this.#require(found);
    };
  }

  /** Array and String methods that look for something from one end to the other. */
  #countSearches(): () => void {
    const undo: (() => void)[] = [];
    for (const prototype of [Array.prototype, String.prototype] as unknown as Record<string, (this: { length: number }, ...values: unknown[]) => unknown>[]) {
      for (const name of ['indexOf', 'includes']) {
        const method = prototype[name]!;
        const count = (length: number) => void (this.#builtin += length);
        prototype[name] = function (this: { length: number }, ...values: unknown[]) {
          count(this.length);
          return method.apply(this, values);
        };
        undo.push(() => (prototype[name] = method));
      }
    }
    return () => undo.forEach((restore) => restore());
  }
}

/**
 * The steps of `work` on an input of `size` and on one of twice that: for whoever asserts that they grow no faster.
 * @returns how many times as many steps the longer one takes
 */
export async function growth(library: CountedLibrary, size: number, work: (size: number) => unknown): Promise<number> {
  await library.steps(() => work(2));
  const once = await library.steps(() => work(size));
  const twice = await library.steps(() => work(2 * size));
  return twice / once;
}
