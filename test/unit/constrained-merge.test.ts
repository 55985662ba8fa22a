/** Custom Diffusion's merge in closed form against numpy's solution by another way (scripts/golden_merge.py). */
import golden from '../goldens/constrained-merge.json';
import { mergeMatrix, mergeProjection } from '../../lib/methods/training/constrained-merge';
import { runAtOnce } from '../../lib/util/pieces';

const { width } = golden;
const rows = (values: readonly number[]) => ({ values: Float32Array.from(values), count: values.length / width });
const own = golden.wordsOf.flatMap((count, i) => Array.from({ length: count }, () => Float32Array.from(golden.own[i]!)));
const base = Float32Array.from(golden.base);

test('the minimiser is numpy’s', () => {
  const projection = runAtOnce(mergeProjection(rows(golden.regular), rows(golden.words), width));
  const merged = runAtOnce(mergeMatrix(base, own, rows(golden.words), projection, width));
  golden.merged.forEach((want, i) => expect(merged[i]).toBeCloseTo(want, 5));
  // Not what was there, and not either subject's.
  for (const other of [golden.base, ...golden.own]) expect(Math.max(...golden.merged.map((value, i) => Math.abs(value - other[i]!)))).toBeGreaterThan(0.1);
});

test('the words keep what their own matrices make of them, also where captions span less than all dimensions', () => {
  const words = rows(golden.words);
  const projection = runAtOnce(mergeProjection(rows(golden.regular.slice(0, 3 * width)), words, width));
  const merged = runAtOnce(mergeMatrix(base, own, words, projection, width));
  const result = (matrix: Float32Array, row: number, word: number) =>
    Array.from({ length: width }, (_, d) => matrix[row * width + d]! * words.values[word * width + d]!).reduce((a, b) => a + b);
  for (let word = 0; word < words.count; word++) {
    for (let row = 0; row < base.length / width; row++) expect(result(merged, row, word)).toBeCloseTo(result(own[word]!, row, word), 3);
  }
});
