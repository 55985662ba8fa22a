/**
 * Likeness of pictures without any network: colour histograms. Coarse, but it tells a black cat from a brown one, needs no
 * weights, and works for every model. (With a CLIP pair: see find-concept/alignment.ts.)
 */
import type { Picture } from './images';

const LEVELS = 4;

/** Fractions of the pixels per colour: 4 levels of red, green and blue each, soft-assigned to neighbouring levels. */
export function colourHistogram({ data, width, height }: Picture): Float64Array {
  const bytes = data instanceof Uint8Array ? data : Uint8ClampedArray.from(data, (value) => (value + 1) * 127.5);
  const histogram = new Float64Array(LEVELS ** 3);
  const pixels = width * height;
  for (let p = 0; p < pixels; p++) {
    // A colour between two levels counts for both, so that a slight change of shade is a slight change of histogram.
    const levels = [0, 1, 2].map((c) => (bytes[3 * p + c]! / 255) * (LEVELS - 1));
    for (let corner = 0; corner < 8; corner++) {
      let weight = 1;
      let bin = 0;
      levels.forEach((level, c) => {
        const low = Math.min(Math.floor(level), LEVELS - 2);
        const high = (corner >> c) & 1;
        weight *= high ? level - low : 1 - (level - low);
        bin = bin * LEVELS + low + high;
      });
      histogram[bin]! += weight / pixels;
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
