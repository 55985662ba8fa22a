/**
 * Likeness of pictures without any network: colour histograms. Coarse, but it tells a black cat from a brown one, needs no
 * weights, and works for every model. (With a CLIP pair: see find-concept/alignment.ts.)
 */
import { types } from 'node:util';
import type { Picture } from '../images/images';

const LEVELS = 4;

/** Pixels of a side that are looked at: all of a large picture would hold up the event loop. */
const MOST = 128;

/**
 * Fractions of the pixels per colour: 4 levels of red, green and blue each, soft-assigned to neighbouring levels. Of a
 * side longer than 128 pixels every n-th row or column counts.
 */
export function colourHistogram({ data, width, height }: Picture): Float64Array {
  const levelOf = types.isUint8Array(data)
    ? (value: number) => (value / 255) * (LEVELS - 1)
    : (value: number) => (Math.min(Math.max(Math.round((value + 1) * 127.5), 0), 255) / 255) * (LEVELS - 1);
  const histogram = new Float64Array(LEVELS ** 3);
  const [down, across] = [Math.ceil(height / MOST), Math.ceil(width / MOST)];
  const share = 1 / (Math.ceil(height / down) * Math.ceil(width / across));
  const low = [0, 0, 0];
  const rest = [0, 0, 0];
  for (let y = 0; y < height; y += down) {
    for (let x = 0; x < width; x += across) {
      for (let c = 0; c < 3; c++) {
        const level = levelOf(data[3 * (y * width + x) + c]!);
        low[c] = Math.min(Math.floor(level), LEVELS - 2);
        rest[c] = level - low[c]!;
      }
      // A colour between two levels counts for both, so that a slight change of shade is a slight change of histogram.
      for (let corner = 0; corner < 8; corner++) {
        let weight = share;
        let bin = 0;
        for (let c = 0; c < 3; c++) {
          const high = (corner >> c) & 1;
          weight *= high ? rest[c]! : 1 - rest[c]!;
          bin = bin * LEVELS + low[c]! + high;
        }
        histogram[bin]! += weight;
      }
    }
  }
  return histogram;
}

/** Histogram intersection in [0, 1]: 1 for pictures with the same colours (Swain and Ballard 1991). */
export function histogramIntersection(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, value, i) => sum + Math.min(value, b[i]!), 0);
}

/** Mean absolute difference of two pictures of one size, 0 … 1. */
export function meanDifference(a: Picture, b: Picture): number {
  let sum = 0;
  for (let i = 0; i < a.data.length; i++) sum += Math.abs(a.data[i]! - b.data[i]!);
  return sum / a.data.length / 255;
}

export function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}
