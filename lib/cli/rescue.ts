import { mkdtemp } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { ConesError } from '../errors';
import { brief, reason } from '../util/show';

/** UTF-16 code units of a name's end: legal as a name everywhere, and enough to tell numbered pictures apart. */
const NAME = 60;

/**
 * Saves what took long to make. When its file cannot be written after all (the disk is full), it goes into a new folder
 * for temporary files instead, so that it is not lost.
 */
export class Rescue {
  #folder: string | undefined;
  #failure: ConesError | undefined;
  readonly #rescued: string[] = [];
  readonly #lost: string[] = [];

  /** @returns where it is now: in `file` or elsewhere; undefined when it could be written nowhere */
  async save(file: string, write: (file: string) => Promise<void>): Promise<string | undefined> {
    try {
      await write(file);
      return file;
    } catch (error) {
      if (!(error instanceof ConesError && error.code === 'CONES_IO')) throw error;
      this.#failure ??= error;
    }
    try {
      this.#folder ??= await mkdtemp(path.join(os.tmpdir(), 'cones-'));
      const elsewhere = path.join(this.#folder, path.basename(file).slice(-NAME));
      await write(elsewhere);
      this.#rescued.push(elsewhere);
      return elsewhere;
    } catch (error) {
      this.#lost.push(`${brief(file)} (${brief(reason(error))})`);
      return undefined;
    }
  }

  /** What could not be written and where it is instead; undefined when everything is in its place. */
  get problem(): string | undefined {
    if (this.#failure === undefined) return undefined;
    const instead = this.#rescued.length === 0 ? [] : [`Saved instead: ${list(this.#rescued)}.`];
    const lost = this.#lost.length === 0 ? [] : [`Lost, as that failed, too: ${list(this.#lost)}.`];
    return [this.#failure.message, ...instead, ...lost].join(' ');
  }

  /** @throws ConesError CONES_IO unless everything is in its place */
  assertUnneeded(): void {
    if (this.problem !== undefined) throw new ConesError('CONES_IO', this.problem, { cause: this.#failure });
  }
}

/** Hundreds of pictures may be in one folder. */
function list(names: readonly string[]): string {
  const more = names.length - 3;
  return more > 0 ? `${names.slice(0, 3).join(', ')} and ${more} more` : names.join(', ');
}
