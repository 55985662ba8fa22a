/** What an engine takes on: how many calls of generate at once, and how large each may be. For services, whose callers are others. */
import { z } from 'zod';
import { ConesError } from '../errors';

/** The most that one call of `generate` may ask for; what is left out has no limit but the option's own. */
export interface Limits {
  /** Width and height in pixels. */
  readonly size?: number;
  readonly steps?: number;
  /** Pictures of a call: prompts times `count`. */
  readonly count?: number;
}

export const admissionOptions = {
  maxQueue: z.int().min(1).optional(),
  limits: z.strictObject({ size: z.int().min(1).optional(), steps: z.int().min(1).optional(), count: z.int().min(1).optional() }).prefault({}),
};

/** A call that was let in. */
export interface Admitted {
  /** @throws ConesError CONES_LIMIT_EXCEEDED */
  check(asked: Required<Limits>): void;
  /** Its first step was taken. */
  begun(): void;
  ended(): void;
}

export class Admission {
  readonly #maxQueue: number;
  readonly #limits: Limits;
  #waiting = 0;
  #running = 0;

  constructor({ maxQueue = Infinity, limits }: { readonly maxQueue?: number | undefined; readonly limits: Limits }) {
    this.#maxQueue = maxQueue;
    this.#limits = limits;
  }

  /** Calls that have not taken a step yet. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Calls that have, and are not done. */
  get running(): number {
    return this.#running;
  }

  /** @throws ConesError CONES_QUEUE_FULL */
  enter(): Admitted {
    if (this.#waiting + this.#running >= this.#maxQueue) {
      throw new ConesError('CONES_QUEUE_FULL', `generate: ${this.#maxQueue} calls are waiting or being drawn, as many as maxQueue allows; try again when one has ended.`);
    }
    this.#waiting++;
    let state: 'waiting' | 'running' | 'ended' = 'waiting';
    return {
      check: (asked) => this.#check(asked),
      begun: () => {
        if (state !== 'waiting') return;
        state = 'running';
        this.#waiting--;
        this.#running++;
      },
      ended: () => {
        if (state === 'waiting') this.#waiting--;
        if (state === 'running') this.#running--;
        state = 'ended';
      },
    };
  }

  #check(asked: Required<Limits>): void {
    for (const name of ['size', 'steps', 'count'] as const) {
      const limit = this.#limits[name] ?? Infinity;
      if (asked[name] > limit) {
        throw new ConesError('CONES_LIMIT_EXCEEDED', `generate: this engine's limit of ${name} is ${limit}, and ${asked[name]} was asked for; ask for less, or raise limits.${name}.`);
      }
    }
  }
}
