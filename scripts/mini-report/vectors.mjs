// Arithmetic on embeddings.
import { cosine } from 'cones';

export const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
const argmax = (values) => values.indexOf(Math.max(...values));

/** Which of the unit vectors `centres` is nearest to `row`. */
export const nearest = (row, centres) => argmax(centres.map((centre) => cosine(row, centre)));

/** The direction of the mean of unit vectors. */
export function normalised(vectors) {
  const sum = vectors[0].map((_, i) => mean(vectors.map((vector) => vector[i])));
  const length = Math.hypot(...sum);
  return sum.map((value) => value / length);
}
