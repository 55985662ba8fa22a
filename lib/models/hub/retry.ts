/** Trying again, with pauses, what another try may cure. */
import { setTimeout as sleep } from 'node:timers/promises';
import { AbortError, ConesError } from '../../errors';
import { reason } from '../../util/show';

/** A failure that may pass: a connection that broke off, a server that is busy. */
export class Interrupted extends Error {
  /** What the server asks for. */
  readonly waitMs: number | undefined;

  constructor(message: string, { waitMs, cause }: { waitMs?: number | undefined; cause?: unknown } = {}) {
    super(message, { cause });
    this.waitMs = waitMs;
  }
}

export interface RetryOptions {
  readonly signal: AbortSignal;
  /** Bytes that are there: some more, and the count of failures begins anew. */
  readonly progress?: () => number;
  /** For tests, which do not wait. */
  readonly wait?: Wait | undefined;
}

export type Wait = (ms: number, signal: AbortSignal) => Promise<void>;

const MOST_FAILURES = 5;
const FIRST_WAIT_MS = 500;
/** A server that wants a longer pause is not waited for. */
const LONGEST_WAIT_MS = 120_000;
/** Not a byte: a server could send them one by one for ever. */
const PROGRESS = 2 ** 20;

/** @throws ConesError CONES_DOWNLOAD_FAILED after five failures in a row; CONES_ABORTED */
export async function retrying<T>(attempt: () => Promise<T>, { signal, progress = () => 0, wait = waited }: RetryOptions): Promise<T> {
  let reached = progress();
  for (let failures = 1; ; failures++) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error;
      if (progress() - reached >= PROGRESS) {
        failures = 1;
        reached = progress();
      }
      const pause = error.waitMs ?? FIRST_WAIT_MS * 2 ** (failures - 1);
      if (failures >= MOST_FAILURES) throw failed(error, `That was try ${failures}`);
      if (pause > LONGEST_WAIT_MS) throw failed(error, `It asks for a pause of ${Math.ceil(pause / 1000)} seconds`);
      await wait(pause, signal);
    }
  }
}

function failed(cause: Interrupted, why: string): ConesError {
  return new ConesError('CONES_DOWNLOAD_FAILED', `${reason(cause).replace(/\.$/, '')}. ${why}: check the network (HTTPS_PROXY, HF_ENDPOINT), and start it again later; it goes on where it ended.`, { cause });
}

async function waited(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(ms, undefined, { signal });
  } catch (cause) {
    throw new AbortError(undefined, { cause });
  }
}

/** The milliseconds of a Retry-After header: seconds, or a date. */
export function retryAfter(header: string | undefined, now = Date.now()): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d{1,9}$/.test(header)) return 1000 * Number(header);
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}
