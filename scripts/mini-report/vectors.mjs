// Arithmetic on embeddings.
export const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
export const argmax = (values) => values.indexOf(Math.max(...values));
export const cosine = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);

/** The direction of the mean of unit vectors. */
export function normalised(vectors) {
  const sum = vectors[0].map((_, i) => mean(vectors.map((vector) => vector[i])));
  const length = Math.hypot(...sum);
  return sum.map((value) => value / length);
}
