/** Lists of encoded pictures. */
import type { Moments } from '../../engine/pictures';

/** One list after the other. */
export function joinMoments(lists: readonly Moments[]): Moments {
  const [, ...rest] = lists[0]!.shape;
  const data = new Float32Array(lists.reduce((sum, list) => sum + list.data.length, 0));
  let end = 0;
  for (const list of lists) {
    data.set(list.data, end);
    end += list.data.length;
  }
  return { data, shape: [lists.reduce((sum, { shape: [count] }) => sum + count, 0), ...rest] };
}

/** Every picture of the list by itself, `[1, 2C, h, w]`. */
export function splitMoments({ data, shape: [count, ...rest] }: Moments): Moments[] {
  const size = data.length / count;
  return Array.from({ length: count }, (_, i) => ({ data: data.subarray(i * size, (i + 1) * size), shape: [1, ...rest] }));
}
