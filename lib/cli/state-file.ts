import { stat } from 'node:fs/promises';
import { ConesError } from '../errors';
import { readRegularFile, writeFileAtomic } from '../util/files';
import type { Warning } from '../warning';
import type { Rescue } from './rescue';

/** What can be kept. */
interface Kept {
  readonly step: number;
  save(): Promise<Buffer>;
}

/** The file in which a search or a training is kept. */
export class StateFile {
  readonly #file: string;
  readonly #rescue: Rescue;
  /** Steps of the state that was written last. */
  #step: number | undefined;
  #warned = false;

  constructor(file: string, rescue: Rescue) {
    this.#file = file;
    this.#rescue = rescue;
  }

  /** The state that is there, if there is one. */
  async read(): Promise<Buffer | undefined> {
    const found = await stat(this.#file).catch(() => undefined);
    return found && readRegularFile(this.#file);
  }

  /** Midway a disk that is full is no reason to end a search: it may have room again in the end. */
  async checkpoint(state: Buffer, step: number, onWarning: (warning: Warning) => void): Promise<void> {
    try {
      await writeFileAtomic(this.#file, state);
      this.#step = step;
    } catch (error) {
      if (!(error instanceof ConesError && error.code === 'CONES_IO')) throw error;
      if (!this.#warned) onWarning({ code: 'checkpoint-failed', message: `${error.message} The search goes on; if it is killed, what it does from step ${this.#step ?? 0} on is lost.` });
      this.#warned = true;
    }
  }

  /** @returns where it, as it is now, is kept: here, or elsewhere where that fails; undefined when nowhere */
  async save(running: Kept): Promise<string | undefined> {
    if (this.#step === running.step) return this.#file;
    const bytes = await running.save();
    return this.#rescue.save(this.#file, (file) => writeFileAtomic(file, bytes));
  }
}
