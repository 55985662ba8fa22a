import { SingleBar } from 'cli-progress';
import { type Command, Option } from 'commander';
import { type Io, printEvent } from './io';

/** How far a command is, and with what result so far; the phase tells the parts of a job apart. */
export interface Progress {
  readonly phase: string;
  readonly step: number;
  readonly steps: number;
  readonly remainingMs?: number | undefined;
  readonly msPerStep?: number | undefined;
  readonly loss?: number | undefined;
  /** What is being worked on. */
  readonly detail?: string | undefined;
}

/** How progress is told. */
export const PROGRESS = ['bar', 'json', 'none'] as const;

export function addProgressFlag(command: Command): Command {
  const flag = new Option('--progress <how>', "how to tell it on stderr: bars, on a terminal only, or with 'json' all that goes there as a JSON object a line (default: bar)");
  return command.addOption(flag.choices(PROGRESS));
}

/** A progress bar per phase, on stderr, and only where somebody watches (a terminal); or events, where a program does. */
export class ProgressBars {
  readonly #io: Io;
  #phase: string | undefined;
  #bar: SingleBar | undefined;

  constructor(io: Io) {
    this.#io = io;
  }

  update(progress: Progress): void {
    if (this.#io.progress === 'json') return printEvent(this.#io, 'progress', progress);
    if (!this.#io.stderr.isTTY || this.#io.progress === 'none') return;
    const { phase, step, steps, remainingMs, loss, msPerStep } = progress;
    const detail = loss === undefined || msPerStep === undefined ? (progress.detail ?? '') : `loss ${loss.toFixed(4)}, ${msPerStep.toFixed(0)} ms/step`;
    const payload = { left: remainingMs === undefined ? '' : `${duration(remainingMs)} left`, detail };
    if (this.#phase !== phase) {
      this.stop();
      this.#phase = phase;
      this.#bar = new SingleBar({
        stream: this.#io.stderr,
        format: `${phase.padEnd(7)} {bar} {value}/{total} {left} {detail}`,
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
    this.#phase = undefined;
  }

  [Symbol.dispose](): void {
    this.stop();
  }
}

/** 1_234 → "1.2 s", 75_000 → "1:15 min", 3_600_000 → "1:00:00 h" */
export function duration(ms: number): string {
  const tenths = Math.round(ms / 100);
  if (tenths < 100) return `${(tenths / 10).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const two = (value: number) => String(value).padStart(2, '0');
  return h > 0 ? `${h}:${two(m)}:${two(s)} h` : `${m}:${two(s)} min`;
}
