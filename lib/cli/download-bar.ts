import { brief, visible } from '../util/show';
import type { DownloadProgress } from '../models/hub';
import { type Io, printEvent } from './io';
import { ProgressBars } from './progress';

const MIB = 2 ** 20;

/** A download on stderr: the model's licence, and on a terminal how many MiB are there. */
export class DownloadBar {
  readonly #io: Io;
  readonly #bars: ProgressBars;
  #toldLicense = false;
  #total = 0;

  constructor(io: Io) {
    this.#io = io;
    this.#bars = new ProgressBars(io);
  }

  update({ model, license, received, total, file }: DownloadProgress): void {
    if (!this.#toldLicense) {
      if (this.#io.progress === 'json') printEvent(this.#io, 'license', { model, ...license });
      else this.#io.stderr.write(`${visible(`${model}: ${licenseLine(license)}`)}\n`);
    }
    this.#toldLicense = true;
    // Configs first, then weights: a bar with another end is another bar.
    if (total !== this.#total) this.#bars.stop();
    this.#total = total;
    this.#bars.update({ phase: 'pull', step: Math.floor(received / MIB), steps: Math.max(1, Math.ceil(total / MIB)), detail: `MiB ${visible(brief(file))}` });
  }

  [Symbol.dispose](): void {
    this.#bars.stop();
  }
}

export function licenseLine({ name, link }: DownloadProgress['license']): string {
  return name === null ? `its card names no licence, see ${link}` : `licence ${name}, see ${link}`;
}
