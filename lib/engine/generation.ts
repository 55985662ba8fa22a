import { signalOption } from '../util/options';
import { followSignal } from './follow-signal';
import { generate, type GenerateOptions, type GenerateProgress, type GenerateResult } from './generate';
import type { Session } from './session';
import { ownOptions, reading } from '../util/reading';

/**
 * {@link generate} as a call of the engine: it counts, and its limits do.
 * @throws ConesError CONES_QUEUE_FULL, and as generate
 */
export async function admit(session: Session, options: GenerateOptions): Promise<GenerateResult> {
  const admitted = session.admission.enter();
  try {
    return await generate(session, options, admitted);
  } finally {
    admitted.ended();
  }
}

/**
 * Pictures being drawn: a promise of the result that can also be iterated over, step by step.
 *
 * @example
 * const { images } = await engine.generate({ prompt: 'a cat' });
 *
 * @example
 * const drawing = engine.generate({ prompt: 'a cat' });
 * for await (const { step, steps } of drawing) console.log(`${step} of ${steps}`);
 * const { images } = await drawing;
 *
 * Leaving the loop early aborts the drawing.
 */
export class Generation implements PromiseLike<GenerateResult>, AsyncIterable<GenerateProgress> {
  readonly #result: Promise<GenerateResult>;
  readonly #left = new AbortController();
  readonly #progress: GenerateProgress[] = [];
  #done = false;
  /** Wakes every loop that waits for progress. */
  #wake: () => void = () => undefined;
  #waiting: Promise<void> | undefined;

  /** @throws ConesError CONES_OPTION_INVALID when the options cannot even be read */
  constructor(session: Session, given: GenerateOptions) {
    const options = ownOptions('generate', given);
    const { signal, onProgress } = options;
    const { data: followed, success } = reading('generate', () => signalOption.safeParse(signal));
    // Not AbortSignal.any: a signal may come from another realm.
    const follow = () => this.#left.abort(followed?.reason);
    if (followed?.aborted) follow();
    const unfollow = followed && followSignal(followed, follow);
    const started = admit(session, {
      ...options,
      // What is no signal is left for the options' check.
      signal: success ? this.#left.signal : signal!,
      onProgress:
        onProgress === undefined || typeof onProgress === 'function'
          ? (progress) => {
              this.#progress.push(progress);
              this.#wake();
              return onProgress?.(progress);
            }
          : onProgress,
    });
    this.#result = started.finally(() => {
      this.#done = true;
      unfollow?.();
      this.#wake();
    });
    // Whoever iterates sees the error there; whoever awaits sees it, too.
    this.#result.catch(() => undefined);
  }

  then<A = GenerateResult, B = never>(
    onFulfilled?: ((result: GenerateResult) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#result.then(onFulfilled, onRejected);
  }

  catch<B = never>(onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null): Promise<GenerateResult | B> {
    return this.#result.catch(onRejected);
  }

  finally(onFinally?: (() => void) | null): Promise<GenerateResult> {
    return this.#result.finally(onFinally);
  }

  #news(): Promise<void> {
    this.#waiting ??= new Promise((resolve) => {
      this.#wake = () => {
        this.#waiting = undefined;
        resolve();
      };
    });
    return this.#waiting;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<GenerateProgress, void, undefined> {
    let next = 0;
    try {
      for (;;) {
        while (next < this.#progress.length) yield this.#progress[next++]!;
        if (this.#done) break;
        await this.#news();
      }
    } finally {
      if (!this.#done) this.#left.abort();
    }
    await this.#result;
  }
}
