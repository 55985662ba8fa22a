import { runInNewContext } from 'node:vm';
import { colourHistogram, histogramIntersection, meanDifference } from '../../lib/analysis/metrics';
import type { Picture } from '../../lib/images/images';

/** A picture of pixels [r, g, b] in one row. */
const row = (...pixels: [number, number, number][]): Picture => ({ width: pixels.length, height: 1, data: Uint8Array.from(pixels.flat()) });
const sum = (values: Float64Array) => values.reduce((a, b) => a + b, 0);
/** The bin of red, green and blue at levels 0 … 3. */
const bin = (r: number, g: number, b: number) => (r * 4 + g) * 4 + b;

describe('colourHistogram', () => {
  test('a colour on a level fills one bin', () => {
    const histogram = colourHistogram(row([255, 0, 85]));
    expect(histogram).toHaveLength(64);
    expect(histogram[bin(3, 0, 1)]).toBe(1);
    expect(sum(histogram)).toBe(1);
  });

  test('bytes of another realm are bytes', () => {
    const data = runInNewContext('new Uint8Array([255, 0, 85])') as Uint8Array;
    expect(colourHistogram({ width: 1, height: 1, data })[bin(3, 0, 1)]).toBe(1);
  });

  test('a colour between levels is shared by its neighbours, by nearness', () => {
    // 51 of 85 is 0.6 of a level in red; 17 of 85 is 0.2 in green.
    const histogram = colourHistogram(row([51, 17, 0]));
    expect(histogram[bin(0, 0, 0)]).toBeCloseTo(0.4 * 0.8, 12);
    expect(histogram[bin(1, 0, 0)]).toBeCloseTo(0.6 * 0.8, 12);
    expect(histogram[bin(0, 1, 0)]).toBeCloseTo(0.4 * 0.2, 12);
    expect(histogram[bin(1, 1, 0)]).toBeCloseTo(0.6 * 0.2, 12);
  });

  test('every pixel counts for as much, wherever it lies', () => {
    const histogram = colourHistogram(row([0, 0, 0], [255, 255, 255], [0, 0, 0], [0, 0, 0]));
    expect([histogram[bin(0, 0, 0)], histogram[bin(3, 3, 3)]]).toEqual([0.75, 0.25]);
    expect(colourHistogram(row([255, 255, 255], [0, 0, 0], [0, 0, 0], [0, 0, 0]))).toEqual(histogram);
  });

  test('of a large picture an even sample counts', () => {
    const [width, height] = [500, 300];
    const data = new Uint8Array(width * height * 3);
    for (let p = 0; p < width * height; p++) data[3 * p + (p % width < width / 2 ? 0 : 2)] = 255;
    const histogram = colourHistogram({ width, height, data });
    expect(sum(histogram)).toBeCloseTo(1, 9);
    expect(histogram[bin(3, 0, 0)]).toBeCloseTo(0.5, 1);
    expect(histogram[bin(3, 0, 0)]! + histogram[bin(0, 0, 3)]!).toBeCloseTo(1, 9);
  });

  test('floats in [-1, 1] are the bytes that they become in a file', () => {
    const bytes = row([0, 255, 128], [255, 0, 0]);
    const floats: Picture = { ...bytes, data: Float32Array.from(bytes.data, (value) => value / 127.5 - 1) };
    expect(colourHistogram(floats)).toEqual(colourHistogram(bytes));
    const wild: Picture = { width: 1, height: 1, data: Float32Array.of(-5, 5, 1) };
    expect(colourHistogram(wild)).toEqual(colourHistogram(row([0, 255, 255])));
  });
});

describe('histogramIntersection', () => {
  const red = colourHistogram(row([255, 0, 0]));
  const blue = colourHistogram(row([0, 0, 255]));
  const both = colourHistogram(row([255, 0, 0], [0, 0, 255]));

  test('is 1 for the same colours, 0 for none in common, and what they share', () => {
    expect([histogramIntersection(red, red), histogramIntersection(red, blue), histogramIntersection(red, both)]).toEqual([1, 0, 0.5]);
    expect(histogramIntersection(both, red)).toBe(histogramIntersection(red, both));
  });

  test('a slight change of shade is a slight change', () => {
    const darker = histogramIntersection(colourHistogram(row([200, 0, 0])), colourHistogram(row([190, 0, 0])));
    expect(darker).toBeGreaterThan(0.85);
    expect(darker).toBeLessThan(1);
  });
});

describe('meanDifference', () => {
  test('is 0 for equal pictures and 1 from black to white', () => {
    const [black, white] = [row([0, 0, 0], [0, 0, 0]), row([255, 255, 255], [255, 255, 255])];
    expect([meanDifference(black, black), meanDifference(black, white), meanDifference(white, black)]).toEqual([0, 1, 1]);
  });

  test('is the mean over all values', () => {
    expect(meanDifference(row([0, 0, 0], [0, 0, 0]), row([51, 0, 0], [0, 0, 102]))).toBeCloseTo((0.2 + 0.4) / 6, 12);
  });
});
