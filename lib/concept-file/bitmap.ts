import { malformed } from './malformed';

/** One bit per weight: weight i is bit i mod 8, counted from the lowest, of byte ⌊i / 8⌋. Spare bits are zero. */

export function bitmapLength(weights: number): number {
  return Math.ceil(weights / 8);
}

export function encodeBitmap(indices: Uint32Array, weights: number): Uint8Array {
  const bytes = new Uint8Array(bitmapLength(weights));
  for (let i = 0; i < indices.length; i++) {
    const index = indices[i]!;
    bytes[index >>> 3]! |= 1 << (index & 7);
  }
  return bytes;
}

/**
 * Reads `count` ≤ `weights` indices from `bytes`, which must have {@link bitmapLength} bytes.
 *
 * @throws ConesError `CONES_CONCEPT_CORRUPT`
 */
export function decodeBitmap(bytes: Uint8Array, count: number, weights: number, name: string): Uint32Array {
  const indices = new Uint32Array(count);
  let found = 0;
  for (let at = 0; at < bytes.length; at++) {
    for (let rest = bytes[at]!; rest !== 0; rest &= rest - 1) {
      const index = at * 8 + 31 - Math.clz32(rest & -rest);
      if (index >= weights) throw malformed(`${name} has a neuron at index ${index}, but only ${weights} weights.`);
      if (found < count) indices[found] = index;
      found++;
    }
  }
  if (found !== count) throw malformed(`${name} claims ${count} neurons, but its bitmap has ${found}.`);
  return indices;
}
