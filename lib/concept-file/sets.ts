/** Algebra of sets kept as strictly ascending Uint32Arrays; each is one pass over both. */

type Keep = { onlyA: boolean; onlyB: boolean; both: boolean };

function merge(a: Uint32Array, b: Uint32Array, keep: Keep): Uint32Array {
  const merged = new Uint32Array(a.length + b.length);
  let length = 0;
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    // Past its end a set yields Infinity, so that the other one is drained.
    const x = i < a.length ? a[i]! : Infinity;
    const y = j < b.length ? b[j]! : Infinity;
    if (x < y ? keep.onlyA : x > y ? keep.onlyB : keep.both) merged[length++] = Math.min(x, y);
    if (x <= y) i++;
    if (y <= x) j++;
  }
  return merged.slice(0, length);
}

export const union = (a: Uint32Array, b: Uint32Array) => merge(a, b, { onlyA: true, onlyB: true, both: true });
export const intersection = (a: Uint32Array, b: Uint32Array) => merge(a, b, { onlyA: false, onlyB: false, both: true });
export const difference = (a: Uint32Array, b: Uint32Array) => merge(a, b, { onlyA: true, onlyB: false, both: false });

export function equal(a: Uint32Array, b: Uint32Array): boolean {
  return a.length === b.length && a.every((index, i) => index === b[i]);
}
