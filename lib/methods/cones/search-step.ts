/** One step of a search on a batch of the caller's own, for those who compare searches. */
import { z } from 'zod';
import type { NativeSearch } from '../../../typings/native';
import type { Subject } from '../../concept';
import { noised } from '../../engine/noise';
import type { Session } from '../../engine/session';
import { embeddingsOption, type Embeddings, type Latents, latentsOption, requireLength } from '../../engine/tensors';
import { encodePrompts } from '../../engine/text';
import { ConesError } from '../../errors';
import { parseOptions, promptOption } from '../../util/options';
import { ownOptions } from '../../util/reading';

/** Rows of pictures with noise, timesteps and captions; one of `captions` and `embeddings`. */
export interface StepInput {
  /** Latents of the pictures without noise, scaled, `[B, C, h, w]`. */
  readonly latents: Latents;
  /** ε, the same shape. */
  readonly noise: Float32Array;
  /** Training timesteps, one per row or one for all. */
  readonly timesteps: readonly number[];
  /** One per row; the subject's identifier may be in them. */
  readonly captions?: readonly string[];
  /** Text states in their place, `[B, T, D]`. */
  readonly embeddings?: Embeddings;
  /** Loss = Σ_b weights[b] · mean((output_b − target_b)²). Default 1 / B each. */
  readonly weights?: readonly number[];
}

const schema = z.strictObject({
  latents: latentsOption,
  noise: latentsOption.shape.data,
  timesteps: z.array(z.int().min(0)).min(1),
  captions: promptOption.optional(),
  embeddings: embeddingsOption.optional(),
  weights: z.array(z.number().min(0)).optional(),
});

/** @throws ConesError CONES_OPTION_INVALID, CONES_PROMPT_EMPTY, CONES_LOSS_NOT_FINITE, CONES_ABORTED, CONES_DISPOSED */
export async function stepOn(
  session: Session,
  search: NativeSearch,
  input: StepInput,
  { subjects, learnEmbedding, signal }: { readonly subjects: readonly Subject[]; readonly learnEmbedding: boolean; readonly signal: AbortSignal | undefined },
): Promise<{ loss: number; rows: Float64Array }> {
  const settings = parseOptions('stepOn', schema, ownOptions('stepOn', input));
  if (learnEmbedding) throw new ConesError('CONES_OPTION_INVALID', 'stepOn: a search that learns its embedding encodes its own captions: start it with learnEmbedding: false.');
  if ((settings.captions === undefined) === (settings.embeddings === undefined)) throw new ConesError('CONES_OPTION_INVALID', 'stepOn: give either captions or embeddings.');
  const { noisy, target, timesteps } = noised(session, 'stepOn', settings.latents, settings.noise, settings.timesteps);
  const [batch, , height, width] = noisy.shape;
  const weights = Float64Array.from(settings.weights ?? timesteps.map(() => 1 / batch));
  requireLength('weights', weights, batch);
  const given = settings.embeddings && { ...settings.embeddings, data: settings.embeddings.data.slice() };
  const captions = [settings.captions ?? []].flat();
  const { data, shape } = given ?? (await encodePrompts(session, captions, captions.map(() => subjects), signal));
  const [rows, tokens, size] = shape;
  if (rows !== batch || size !== session.config.unet.crossAttentionDim) {
    throw new ConesError('CONES_OPTION_INVALID', `stepOn: there are text states [${shape.join(', ')}] for ${batch} rows: give a caption for each.`);
  }
  requireLength('embeddings', data, rows * tokens * size);
  return session.job(signal, (abort) =>
    search.update({ latents: noisy.data, batch, height, width, timesteps: Float64Array.from(timesteps), embeddings: data, tokens, target, weights, abort }),
  );
}
