import { malformed } from './malformed';

/**
 * Golomb code (S. W. Golomb, "Run-length encodings", 1966) of the gaps between ascending indices. When
 * every weight is a neuron with the same probability, gaps are geometric, and the right divisor M costs
 * about half a per cent more than their entropy. Powers of two for M (Rice) would cost up to 3 %.
 *
 * A gap g = qM + r is q zero bits, a one bit, then r in truncated binary. Bits fill each byte from its
 * lowest, so that counting trailing zeros reads q. The layout is specified in docs/reference/concept-file.md.
 */

/** A one bit and a remainder, shifted by up to 7 bits, must fit in 32 bits. */
export const MAX_DIVISOR = 2 ** 23;

/** How often each gap occurs, so that trying a divisor does not take a pass over all of them. */
class Histogram {
  private static readonly SMALL = 4096;
  private readonly small = new Uint32Array(Histogram.SMALL);
  /** The rest: few, because long gaps leave room for few. */
  private readonly large: number[] = [];
  private readonly count: number;

  constructor(gaps: Uint32Array) {
    this.count = gaps.length;
    for (let i = 0; i < gaps.length; i++) {
      const gap = gaps[i]!;
      if (gap < Histogram.SMALL) this.small[gap]!++;
      else this.large.push(gap);
    }
  }

  /** Bits of the stream with this divisor. */
  bits(divisor: number): number {
    const { low, cutoff } = remainderCode(divisor);
    const variable = (gap: number) => Math.floor(gap / divisor) + (gap % divisor >= cutoff ? 1 : 0);
    let bits = this.count * (1 + low);
    for (let gap = 0; gap < Histogram.SMALL; gap++) if (this.small[gap]) bits += this.small[gap]! * variable(gap);
    for (const gap of this.large) bits += variable(gap);
    return bits;
  }
}

/** Truncated binary: a remainder below `cutoff` takes `low` bits, another one `low + 1`. */
function remainderCode(divisor: number): { low: number; cutoff: number } {
  const low = 31 - Math.clz32(divisor);
  return { low, cutoff: 2 ** (low + 1) - divisor };
}

/**
 * A divisor of least, or nearly least, cost. It starts from the best one for geometric gaps (Gallager and
 * van Voorhis, 1975) and walks while that helps: neurons that cluster need a smaller one.
 */
function bestDivisor(gaps: Uint32Array, weights: number): { divisor: number; bits: number } {
  if (gaps.length === 0) return { divisor: 1, bits: 0 };
  const histogram = new Histogram(gaps);
  const density = gaps.length / weights;
  const geometric = Math.ceil(Math.log(2 - density) / -Math.log1p(-density));
  let divisor = Math.min(Math.max(geometric, 1), MAX_DIVISOR);
  let bits = histogram.bits(divisor);
  for (const step of [(m: number) => Math.min(m - 1, Math.floor(m * 0.9)), (m: number) => Math.max(m + 1, Math.ceil(m * 1.1))]) {
    for (let next = step(divisor); next >= 1 && next <= MAX_DIVISOR; next = step(divisor)) {
      const nextBits = histogram.bits(next);
      if (nextBits >= bits) break;
      divisor = next;
      bits = nextBits;
    }
  }
  return { divisor, bits };
}

/**
 * Codes strictly ascending `indices` into a weight of `weights` elements.
 * Returns null when that would take `limit` bytes or more.
 */
export function encodeGolomb(indices: Uint32Array, weights: number, limit: number): { divisor: number; bytes: Uint8Array } | null {
  const gaps = new Uint32Array(indices.length);
  for (let i = 0, next = 0; i < indices.length; i++) {
    gaps[i] = indices[i]! - next;
    next = indices[i]! + 1;
  }
  const { divisor, bits } = bestDivisor(gaps, weights);
  const length = Math.ceil(bits / 8);
  if (length >= limit) return null;

  const { low, cutoff } = remainderCode(divisor);
  // Three spare bytes: a code word is written as 32 bits from the byte that it starts in.
  const bytes = new Uint8Array(length + 3);
  const view = new DataView(bytes.buffer);
  let bit = 0;
  for (let i = 0; i < gaps.length; i++) {
    const quotient = Math.floor(gaps[i]! / divisor);
    const remainder = gaps[i]! - quotient * divisor;
    bit += quotient;
    let word = 1;
    let width = 1 + low;
    if (remainder < cutoff) {
      word |= remainder << 1;
    } else {
      const long = remainder + cutoff; // low + 1 bits, of which the last is written last
      word |= ((long >>> 1) << 1) | ((long & 1) << width);
      width++;
    }
    const at = bit >>> 3;
    view.setUint32(at, view.getUint32(at, true) | (word << (bit & 7)), true);
    bit += width;
  }
  return { divisor, bytes: bytes.subarray(0, length) };
}

/**
 * Reads `count` indices of a weight of `weights` elements from the whole of `bytes`, which must be shorter
 * than the weight's bitmap. Time and memory are bounded by `bytes`: a code word takes a bit or more, and
 * the array is made only if all of them could fit. `name` is for error messages.
 *
 * @throws ConesError `CONES_CONCEPT_CORRUPT`
 */
export function decodeGolomb(bytes: Uint8Array, count: number, weights: number, divisor: number, name: string): Uint32Array {
  const { low, cutoff } = remainderCode(divisor);
  const lowMask = 2 ** low - 1;
  const end = bytes.length * 8;
  if (count * (1 + low) > end) throw malformed(`${name} claims ${count} neurons, but its ${bytes.length} bytes cannot hold as many.`);

  // Four spare bytes: 32 bits are read from the byte that a code word starts in, at most `end`.
  const padded = new Uint8Array(bytes.length + 4);
  padded.set(bytes);
  const view = new DataView(padded.buffer);
  const indices = new Uint32Array(count);
  const truncated = () => malformed(`The neurons of ${name} break off before the last of ${count}.`);
  let bit = 0;
  let next = 0; // the smallest index that may follow
  for (let i = 0; i < count; i++) {
    let quotient = 0;
    let window = view.getUint32(bit >>> 3, true) >>> (bit & 7);
    while (window === 0) {
      const seen = 32 - (bit & 7);
      quotient += seen;
      bit += seen;
      if (bit >= end) throw truncated();
      window = view.getUint32(bit >>> 3, true) >>> (bit & 7);
    }
    const zeros = 31 - Math.clz32(window & -window);
    quotient += zeros;
    bit += zeros + 1;
    if (bit > end) throw truncated();

    window = view.getUint32(bit >>> 3, true) >>> (bit & 7); // at least 25 bits
    let remainder = window & lowMask;
    if (remainder < cutoff) {
      bit += low;
    } else {
      remainder = 2 * remainder + ((window >>> low) & 1) - cutoff;
      bit += low + 1;
    }
    if (bit > end) throw truncated();

    const index = next + quotient * divisor + remainder;
    if (index >= weights) throw malformed(`${name} has a neuron at index ${index}, but only ${weights} weights.`);
    indices[i] = index;
    next = index + 1;
  }
  if (end - bit >= 8 || (bit < end && view.getUint8(bit >>> 3) >>> (bit & 7) !== 0)) {
    throw malformed(`The neurons of ${name} are followed by bits that belong to none.`);
  }
  return indices;
}
