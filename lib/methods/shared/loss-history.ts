/**
 * The losses of a search's steps, thinned out as it goes: 64 means at most, of as many steps each as it takes. They are a function of
 * the steps alone, wherever a search was interrupted, and are kept in its state.
 */

/** Means, at most; half as many at least once there were that many steps. */
const MOST = 64;
/** Steps, sum of subject losses, sum of prior losses. */
const COLUMNS = 3;
const MOST_STEPS = 2 ** 40;

/** What a report has of them, a curve in columns. */
export interface LossCurve {
  /** The last step of each mean. */
  readonly step: readonly number[];
  /** Mean L_sub and L_pr (Eq. 2 and 3) of the steps since the one before, in four digits. */
  readonly subject: readonly number[];
  readonly prior: readonly number[];
}

export class LossHistory {
  /** Steps of a mean: a power of 2. */
  #every = 1;
  readonly #sums = new Float64Array(COLUMNS * MOST);

  /** Bytes of {@link toBytes}. */
  static readonly BYTES = 8 * (1 + COLUMNS * MOST);

  add(step: number, subject: number, prior: number): void {
    while (step > MOST * this.#every) this.#thinOut();
    const at = COLUMNS * Math.floor((step - 1) / this.#every);
    [1, subject, prior].forEach((value, column) => (this.#sums[at + column]! += value));
  }

  curve(): LossCurve {
    const rows = Array.from({ length: MOST }, (_, i) => ({ i, count: this.#sums[COLUMNS * i]! })).filter(({ count }) => count > 0);
    const mean = (column: number) => rows.map(({ i, count }) => Number((this.#sums[COLUMNS * i + column]! / count).toPrecision(4)));
    // The last mean may have fewer steps; where the caller took steps of its own, others may.
    return { step: rows.map(({ i, count }, n) => (n === rows.length - 1 ? i * this.#every + count : (i + 1) * this.#every)), subject: mean(1), prior: mean(2) };
  }

  /** Little-endian doubles: steps of a mean, then the sums. */
  toBytes(): Buffer {
    const bytes = Buffer.alloc(LossHistory.BYTES);
    [this.#every, ...this.#sums].forEach((value, i) => bytes.writeDoubleLE(value, 8 * i));
    return bytes;
  }

  /** undefined for bytes that no search has written. */
  static fromBytes(bytes: Buffer): LossHistory | undefined {
    const [every, ...sums] = Array.from({ length: 1 + COLUMNS * MOST }, (_, i) => bytes.readDoubleLE(8 * i));
    const counts = sums.filter((_, i) => i % COLUMNS === 0);
    const sane = Number.isInteger(Math.log2(every!)) && every! >= 1 && every! <= MOST_STEPS && sums.every(Number.isFinite);
    if (!sane || !counts.every((count) => Number.isInteger(count) && count >= 0 && count <= every!)) return undefined;
    const history = new LossHistory();
    history.#every = every!;
    history.#sums.set(sums);
    return history;
  }

  #thinOut(): void {
    this.#every *= 2;
    for (let i = 0; i < MOST; i++) {
      for (let column = 0; column < COLUMNS; column++) {
        const [first, second] = [0, COLUMNS].map((next) => this.#sums[2 * COLUMNS * i + next + column] ?? 0);
        this.#sums[COLUMNS * i + column] = first! + second!;
      }
    }
  }
}
