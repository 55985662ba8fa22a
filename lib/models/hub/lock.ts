/**
 * Keeps two processes from downloading the same file twice. Node.js has no flock, which Python's library uses: a file that exists is the
 * lock, and its owner touches it while it lives. What is published is whole without it, too (partial-file.ts); beside Python both download.
 */
import { constants } from 'node:fs';
import { type FileHandle, lstat, open, readFile, rename, rm } from 'node:fs/promises';
import { randomUUID } from 'node:crypto';
import os from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { AbortError } from '../../errors';
import { ioError } from '../../util/files';
import { brief } from '../../util/show';

const BEAT_MS = 5_000;
/** Untouched for so long, its owner is gone. */
const ABANDONED_MS = 30_000;
const POLL_MS = 200;

/** Somebody else has the lock now. */
export class LockLost extends Error {}

export class Lock implements AsyncDisposable {
  readonly #file: string;
  readonly #handle: FileHandle;
  readonly #inode: bigint;
  readonly #timer: NodeJS.Timeout;
  #beat = Date.now();

  private constructor(file: string, handle: FileHandle, inode: bigint) {
    this.#file = file;
    this.#handle = handle;
    this.#inode = inode;
    this.#timer = setInterval(() => void this.#touch(), BEAT_MS);
    this.#timer.unref();
  }

  /**
   * Waits for the lock, or for what its owner is making.
   * @param isDone whether it is there
   * @returns undefined: it is
   */
  static async take(file: string, signal: AbortSignal, isDone: () => Promise<boolean>): Promise<Lock | undefined> {
    for (;;) {
      if (await isDone()) return undefined;
      try {
        return await Lock.#make(file);
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw ioError(`${brief(file)} cannot be made`, cause);
      }
      if (await isAbandoned(file)) {
        // Renamed first: of two who do so one removes the other's new lock, whose owner then notices (assertHeld).
        const removed = `${file}.${randomUUID()}`;
        await rename(file, removed).catch(() => undefined);
        await rm(removed, { force: true });
        continue;
      }
      await sleep(POLL_MS, undefined, { signal }).catch((reason: unknown) => {
        throw new AbortError(undefined, { cause: reason });
      });
    }
  }

  static async #make(file: string): Promise<Lock> {
    const handle = await open(file, 'wx');
    try {
      await handle.writeFile(JSON.stringify({ pid: process.pid, host: os.hostname() }));
      return new Lock(file, handle, (await handle.stat({ bigint: true })).ino);
    } catch (error) {
      await handle.close();
      await rm(file, { force: true });
      throw error;
    }
  }

  /** Before each write: a process that was stopped for long may find its lock with somebody else. @throws LockLost */
  assertHeld(): void {
    if (Date.now() - this.#beat > ABANDONED_MS) throw new LockLost('Another process has taken over the download.');
  }

  async #touch(): Promise<void> {
    try {
      const now = new Date();
      await this.#handle.utimes(now, now);
      if (await this.#isOwn()) this.#beat = now.getTime();
      else this.#beat = 0;
    } catch {
      // A network drive that is away for a while; in the end the beat is too old.
    }
  }

  async #isOwn(): Promise<boolean> {
    return (await lstat(this.#file, { bigint: true }).catch(() => undefined))?.ino === this.#inode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    if (await this.#isOwn()) await rm(this.#file, { force: true });
    await this.#handle.close();
  }
}

async function isAbandoned(file: string): Promise<boolean> {
  const found = await lstat(file).catch(() => undefined);
  if (found === undefined) return false;
  if (!found.isFile() || Date.now() - found.mtimeMs > ABANDONED_MS) return true;
  const text = await readFile(file, { encoding: 'utf8', flag: constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) }).catch(() => '');
  try {
    const { pid, host } = JSON.parse(text) as { pid?: unknown; host?: unknown };
    return host === os.hostname() && typeof pid === 'number' && Number.isSafeInteger(pid) && pid > 0 && !isAlive(pid);
  } catch {
    // Its owner is just writing it.
    return false;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
