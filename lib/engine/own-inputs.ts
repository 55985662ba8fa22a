/** A drawing's own starting latents and text states, in place of what seeds and prompts make. */
import { ConesError } from '../errors';
import type { Session } from './session';
import { type Embeddings, type Latents, requireLength } from './tensors';

export interface OwnInputs {
  readonly latents?: Latents | undefined;
  readonly embeddings?: Embeddings | undefined;
  readonly negativeEmbeddings?: Embeddings | undefined;
}

/** One picture's part of them. */
export interface OwnRows {
  /** [C, h, w] */
  readonly latents?: Float32Array;
  /** [T, D] */
  readonly embeddings?: Float32Array;
  readonly negativeEmbeddings?: Float32Array;
}

/** What a picture's file says of them: it does not hold them. */
export function givenInputs(inputs: OwnInputs): string {
  return (['latents', 'embeddings', 'negativeEmbeddings'] as const).filter((name) => inputs[name]).join(', ');
}

/**
 * The rows of each picture, copied.
 * @param prompts number of prompts; there are `count` pictures of each
 * @throws ConesError CONES_OPTION_INVALID
 */
export function ownRows(
  session: Session,
  { latents, embeddings, negativeEmbeddings }: OwnInputs,
  { prompts, count, latent }: { readonly prompts: number; readonly count: number; readonly latent: { readonly height: number; readonly width: number } },
): (picture: number) => OwnRows {
  const shape = [prompts * count, session.config.vae.latentChannels, latent.height, latent.width];
  if (latents && latents.shape.join() !== shape.join()) {
    throw invalid(`latents are [${latents.shape.join(', ')}], wanted [${shape.join(', ')}]: noise for each picture, as large as its latents`);
  }
  const { crossAttentionDim } = session.config.unet;
  for (const [name, states] of Object.entries({ embeddings, negativeEmbeddings })) {
    if (!states) continue;
    const [rows, tokens, width] = states.shape;
    const one = name === 'negativeEmbeddings' && rows === 1;
    if ((rows !== prompts && !one) || width !== crossAttentionDim) {
      throw invalid(`${name} are [${states.shape.join(', ')}], wanted [${prompts}, T, ${crossAttentionDim}]: text states for each prompt`);
    }
    requireLength(name, states.data, rows * tokens * width);
  }
  if (latents) requireLength('latents', latents.data, shape.reduce((a, b) => a * b));
  const parts = { latents: rowsOf(latents), embeddings: rowsOf(embeddings), negativeEmbeddings: rowsOf(negativeEmbeddings) };
  return (picture) => {
    const prompt = Math.floor(picture / count);
    return {
      ...(parts.latents && { latents: parts.latents[picture]! }),
      ...(parts.embeddings && { embeddings: parts.embeddings[prompt]! }),
      ...(parts.negativeEmbeddings && { negativeEmbeddings: parts.negativeEmbeddings[prompt] ?? parts.negativeEmbeddings[0]! }),
    };
  };
}

function rowsOf(tensor: Latents | Embeddings | undefined): Float32Array[] | undefined {
  if (!tensor) return undefined;
  const [rows] = tensor.shape;
  const size = tensor.data.length / rows;
  return Array.from({ length: rows }, (_, i) => tensor.data.slice(i * size, (i + 1) * size));
}

/** All pictures' text states, where they have their own [B, T, D]. */
export function ownStates(rows: readonly (Float32Array | undefined)[], width: number): { data: Float32Array; shape: readonly [number, number, number] } | undefined {
  const [first] = rows;
  if (first === undefined) return undefined;
  const data = new Float32Array(rows.length * first.length);
  rows.forEach((row, i) => data.set(row!, i * first.length));
  return { data, shape: [rows.length, first.length / width, width] };
}

function invalid(problem: string): ConesError {
  return new ConesError('CONES_OPTION_INVALID', `generate: ${problem}.`);
}
