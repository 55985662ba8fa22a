/**
 * ∂loss/∂W where a row b computes with M_b ⊙ W: Σ_b M_b ⊙ ∂loss_b/∂(M_b ⊙ W). The native gradient is with respect to M_b ⊙ W and
 * knows the sum over rows alone, so rows of one mask are a batch of their own.
 */
import type { NativeGradient, NativeGradientResult } from '../../typings/native';
import type { Concept } from '../concept';

/** A batch with a target, but for the masks of its rows. */
export type Unmasked = Omit<NativeGradient, 'masks' | 'upstream' | 'target' | 'weights'> & Required<Pick<NativeGradient, 'target' | 'weights'>>;

/**
 * @param rows what is shut in each row
 * @param run the gradient of a batch whose rows have all the same neurons shut
 */
export async function gradientOfWeights(
  input: Unmasked,
  rows: readonly (Concept | null)[],
  run: (input: Unmasked, shut: Concept | null) => Promise<NativeGradientResult>,
): Promise<NativeGradientResult> {
  let loss = 0;
  const errors = new Float64Array(rows.length);
  const latents = input.wantLatents ? new Float32Array(input.latents.length) : undefined;
  const embeddings = input.wantEmbeddings ? new Float32Array(input.embeddings.length) : undefined;
  let gradients: Float32Array[] | undefined;
  for (const shut of new Set(rows)) {
    const chosen = rows.flatMap((row, b) => (row === shut ? [b] : []));
    const part = await run(batchOf(input, chosen), shut);
    loss += part.loss;
    put(errors, part.rows, chosen);
    if (latents) put(latents, part.latents!, chosen);
    if (embeddings) put(embeddings, part.embeddings!, chosen);
    part.gradients.forEach((gradient, i) => shut?.tensors.get(input.tensors[i]!)?.indices.forEach((index) => (gradient[index] = 0)));
    if (gradients) gradients.forEach((sum, i) => add(sum, part.gradients[i]!));
    else gradients = part.gradients;
  }
  return { loss, rows: errors, gradients: gradients!, ...(latents ? { latents } : {}), ...(embeddings ? { embeddings } : {}) };
}

/** Some rows of a batch, as a batch. */
function batchOf(input: Unmasked, chosen: readonly number[]): Unmasked {
  const of = <T extends Float32Array | Float64Array>(data: T): T => take(data, chosen, input.batch);
  const { latents, embeddings, target, timesteps, weights } = input;
  return { ...input, batch: chosen.length, latents: of(latents), embeddings: of(embeddings), target: of(target), timesteps: of(timesteps), weights: of(weights) };
}

function take<T extends Float32Array | Float64Array>(data: T, chosen: readonly number[], batch: number): T {
  const size = data.length / batch;
  const taken = data.slice(0, chosen.length * size) as T;
  chosen.forEach((b, i) => taken.set(data.subarray(b * size, (b + 1) * size), i * size));
  return taken;
}

/** Rows back to their places. */
function put<T extends Float32Array | Float64Array>(whole: T, part: T, chosen: readonly number[]): void {
  const size = part.length / chosen.length;
  chosen.forEach((b, i) => whole.set(part.subarray(i * size, (i + 1) * size), b * size));
}

function add(sum: Float32Array, values: Float32Array): void {
  for (let i = 0; i < sum.length; i++) sum[i]! += values[i]!;
}
