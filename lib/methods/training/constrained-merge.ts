/**
 * Custom Diffusion's merge of concepts without training (Kumari et al. 2022, Sect. 3.3 and its appendix): for each K and V matrix
 *
 *     Ŵ = argmin_W ‖W C_regᵀ − W₀ C_regᵀ‖²  subject to  W Cᵀ = V
 *
 * C_reg [R, D] are text features of captions whose results should stay, C [s, D] those of the words that name the subjects, and
 * V [out, s] what each subject's own matrix makes of its words. By Lagrange multipliers, with G = C_regᵀ C_reg,
 *
 *     Ŵ = W₀ + (V − W₀ Cᵀ) (C G⁻¹ Cᵀ)⁻¹ C G⁻¹
 *
 * In fp64. G gets 1e-9 of its mean diagonal on its diagonal: features that no caption has may then be changed almost freely.
 */
import type { Pieces } from '../../util/pieces';

const RIDGE = 1e-9;
/** Multiplications between two turns of the event loop. */
const PIECE = 4e6;

/** Rows one after the other. */
export interface Rows {
  readonly values: Float32Array;
  readonly count: number;
}

/** What the merge needs of C_reg and C, whatever the matrix: P [s, D] = (C G⁻¹ Cᵀ)⁻¹ C G⁻¹, row-major. */
export function* mergeProjection(regular: Rows, words: Rows, width: number): Pieces<Float64Array> {
  const gram = yield* gramOf(regular, width);
  let trace = 0;
  for (let i = 0; i < width; i++) trace += gram[i * width + i]!;
  for (let i = 0; i < width; i++) gram[i * width + i]! += (RIDGE * trace) / width;
  yield* factorize(gram, width);
  const solved = Float64Array.from(words.values); // C G⁻¹, row by row, as G is symmetric
  for (let row = 0; row < words.count; row++) {
    solve(gram, width, solved.subarray(row * width, (row + 1) * width));
    yield;
  }
  const { count } = words;
  const inner = new Float64Array(count * count);
  for (let a = 0; a < count; a++) for (let b = 0; b < count; b++) inner[a * count + b] = dot(solved, a * width, words.values, b * width, width);
  yield* factorize(inner, count);
  const column = new Float64Array(count);
  for (let d = 0; d < width; d++) {
    for (let a = 0; a < count; a++) column[a] = solved[a * width + d]!;
    solve(inner, count, column);
    for (let a = 0; a < count; a++) solved[a * width + d] = column[a]!;
  }
  return solved;
}

/**
 * Ŵ of one matrix.
 * @param base W₀ [out, D]
 * @param own of each row of C the matrix of its subject
 */
export function* mergeMatrix(base: Float32Array, own: readonly Float32Array[], words: Rows, projection: Float64Array, width: number): Pieces<Float32Array> {
  const merged = Float32Array.from(base);
  const sum = new Float64Array(width);
  const perRow = Math.max(1, Math.floor(PIECE / (2 * words.count * width)));
  for (let row = 0, at = 0; at < base.length; row++, at += width) {
    sum.fill(0);
    for (let s = 0; s < words.count; s++) {
      // (V − W₀ Cᵀ) of this row and word.
      let change = 0;
      for (let d = 0; d < width; d++) change += (own[s]![at + d]! - base[at + d]!) * words.values[s * width + d]!;
      for (let d = 0; d < width; d++) sum[d]! += change * projection[s * width + d]!;
    }
    for (let d = 0; d < width; d++) merged[at + d] = base[at + d]! + sum[d]!;
    if (row % perRow === 0) yield;
  }
  return merged;
}

/** Xᵀ X of rows X. */
function* gramOf({ values, count }: Rows, width: number): Pieces<Float64Array> {
  const gram = new Float64Array(width * width);
  const perPiece = Math.max(1, Math.floor((2 * PIECE) / width ** 2));
  for (let row = 0; row < count; row++) {
    const at = row * width;
    for (let i = 0; i < width; i++) {
      const x = values[at + i]!;
      for (let j = 0; j <= i; j++) gram[i * width + j]! += x * values[at + j]!;
    }
    if (row % perPiece === 0) yield;
  }
  return gram;
}

/** Cholesky: the lower triangle becomes L of L Lᵀ. */
function* factorize(matrix: Float64Array, size: number): Pieces<void> {
  let work = 0;
  for (let i = 0; i < size; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = matrix[i * size + j]!;
      for (let k = 0; k < j; k++) sum -= matrix[i * size + k]! * matrix[j * size + k]!;
      matrix[i * size + j] = i === j ? Math.sqrt(Math.max(sum, Number.MIN_VALUE)) : sum / matrix[j * size + j]!;
      work += j;
    }
    if (work > PIECE) {
      work = 0;
      yield;
    }
  }
}

/** x becomes the solution of L Lᵀ x = x. */
function solve(lower: Float64Array, size: number, x: Float64Array): void {
  for (let i = 0; i < size; i++) {
    let sum = x[i]!;
    for (let k = 0; k < i; k++) sum -= lower[i * size + k]! * x[k]!;
    x[i] = sum / lower[i * size + i]!;
  }
  for (let i = size - 1; i >= 0; i--) {
    let sum = x[i]!;
    for (let k = i + 1; k < size; k++) sum -= lower[k * size + i]! * x[k]!;
    x[i] = sum / lower[i * size + i]!;
  }
}

function dot(a: Float64Array, atA: number, b: Float32Array, atB: number, length: number): number {
  let sum = 0;
  for (let i = 0; i < length; i++) sum += a[atA + i]! * b[atB + i]!;
  return sum;
}
