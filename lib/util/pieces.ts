import { setImmediate } from 'node:timers/promises';

/** Work in pieces of a few milliseconds: a generator that yields between them. */
export type Pieces<T> = Generator<void, T, void>;

export function runAtOnce<T>(work: Pieces<T>): T {
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
  }
}

/** Lets the event loop turn between pieces. */
export async function runInPieces<T>(work: Pieces<T>): Promise<T> {
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
    await setImmediate();
  }
}
