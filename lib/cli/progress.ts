import { SingleBar } from 'cli-progress';
import type { Io } from './io';

/** What a bar shows; the label tells the phases of a job apart. */
export interface Progress {
  readonly label: string;
  readonly step: number;
  readonly steps: number;
  readonly remainingMs?: number | undefined;
  /** More to show at the end of the line. */
  readonly detail?: string | undefined;
}

/** A progress bar per phase, on stderr, and only where somebody watches (a terminal). */
export class ProgressBars {
  readonly #io: Io;
  #label: string | undefined;
  #bar: SingleBar | undefined;

  constructor(io: Io) {
    this.#io = io;
  }

  update({ label, step, steps, remainingMs, detail }: Progress): void {
    if (!this.#io.stderr.isTTY) return;
    const payload = { left: remainingMs === undefined ? '' : `${duration(remainingMs)} left`, detail: detail ?? '' };
    if (this.#label !== label) {
      this.stop();
      this.#label = label;
      this.#bar = new SingleBar({
        stream: this.#io.stderr,
        format: `${label.padEnd(7)} {bar} {value}/{total} {left} {detail}`,
        barCompleteChar: '=',
        barIncompleteChar: '-',
        barsize: 30,
        hideCursor: true,
        // Interrupts are handled in index.ts.
        gracefulExit: false,
      });
      this.#bar.start(steps, step, payload);
    }
    this.#bar?.update(step, payload);
  }

  /** Gives the terminal back. */
  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
    this.#label = undefined;
  }

  [Symbol.dispose](): void {
    this.stop();
  }
}

/** 75_000 → "1:15" */
export function duration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const two = (value: number) => String(value).padStart(2, '0');
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}
