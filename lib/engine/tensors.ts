/**
 * Low-level calls on typed arrays, for researchers; the goldens are compared through them.
 *
 * Latents are `[B, C, h, w]`, text states `[B, T, D]`, pictures `[B, H, W, 3]` in [-1, 1]: fp32, row-major.
 */
import { types } from 'node:util';
import { z } from 'zod';
import type { NativeMask } from '../../typings/native';
import { Concept } from '../concept';
import { ConesError } from '../errors';
import { conceptOption, parseOptions, signalOption } from '../util/options';
import { ownOptions } from '../util/reading';
import { type Checkpointing, checkpointingOption } from './checkpointing';
import { gradientOfWeights, type Unmasked } from './gradient-of-weights';
import type { Session } from './session';

/** Latents of B pictures, `[B, C, h, w]`. */
export interface Latents {
  readonly data: Float32Array;
  readonly shape: readonly [batch: number, channels: number, height: number, width: number];
}

/** Text states `[B, T, D]`: the text encoder's last hidden state. */
export interface Embeddings {
  readonly data: Float32Array;
  readonly shape: readonly [batch: number, tokens: number, width: number];
}

/** What is shut in one batch row: nothing, or the neurons of one or more concepts (their union). */
export type RowConcepts = Concept | readonly Concept[] | null | undefined;

export interface DenoiseOptions {
  /**
   * Shut neurons. One concept, or a list of concepts (their union), for all rows; or one entry per row, in which at least
   * one is a list or null: `[[cat], null, [cat, pot]]`. Default: none.
   */
  readonly concepts?: RowConcepts | readonly RowConcepts[];
  readonly signal?: AbortSignal;
}

export interface GradientOptions extends DenoiseOptions {
  /** What the UNet should predict, shaped like the latents. */
  readonly target: Float32Array;
  /** Per row: loss = Σ_b weights[b] · mean((output_b − target_b)²). Default 1 / B each. */
  readonly weights?: readonly number[];
  /** Names of UNet weights whose gradients are wanted; only these are paid for. Default: all K-V weights. */
  readonly tensors?: readonly string[];
  /**
   * Of K-V weights with shut neurons (`concepts`): the gradient with respect to what the UNet computes with, M ⊙ W ('masked'), which is
   * what shut weights would change if they were there; or to W itself ('weights'), to which rows add nothing where they shut it.
   * Without `concepts` both are the same. Default 'masked'.
   */
  readonly withRespectTo?: 'masked' | 'weights';
  /** Also the gradient with respect to the latents. Default false. */
  readonly wantLatents?: boolean;
  /** Also the gradient with respect to the text states. Default false. */
  readonly wantEmbeddings?: boolean;
  /** Recompute activations in backward: less memory, more time (true: a third). Default false. */
  readonly checkpointing?: Checkpointing;
}

export interface ConceptGradient {
  readonly loss: number;
  /** Unweighted mean squared error of each row. */
  readonly rows: Float64Array;
  /** ∂loss/∂(M ⊙ W), or ∂loss/∂W (`withRespectTo`), by weight name, each as long as its weight: `[out, in]`, row-major, for K-V weights. */
  readonly gradients: ReadonlyMap<string, Float32Array>;
  readonly latents?: Float32Array;
  readonly embeddings?: Float32Array;
}

/** What {@link GradientOptions} has of the tensors that a gradient is wanted of. */
export interface VjpOptions extends DenoiseOptions, Pick<GradientOptions, 'tensors' | 'wantLatents' | 'wantEmbeddings' | 'checkpointing'> {}

export interface Vjp extends Pick<ConceptGradient, 'gradients' | 'latents' | 'embeddings'> {
  /** The UNet's own, `[B, C, h, w]`. */
  readonly output: Float32Array;
}

/** Realms have their own classes, so `instanceof` would refuse arrays of a worker's or a test's. */
const float32 = z
  .custom<Float32Array>(types.isFloat32Array, 'must be a Float32Array')
  .refine(allFinite, 'must hold finite numbers');
const side = z.int().min(1).max(2 ** 14);
export const latentsOption = z.object({ data: float32, shape: z.tuple([side, side, side, side]).readonly() });
export const pixelsOption = latentsOption;
export const embeddingsOption = z.object({ data: float32, shape: z.tuple([side, side, side]).readonly() });
const conceptList = z.array(conceptOption);

const denoiseInputs = {
  latents: latentsOption,
  timesteps: z.array(z.number().min(0)).min(1),
  embeddings: embeddingsOption,
  concepts: z
    .union(
      [conceptOption, z.array(z.union([conceptOption, conceptList, z.null(), z.undefined()]))],
      'must be a concept, a list of concepts, or a list with one of these, or null, per row',
    )
    .nullish(),
  signal: signalOption,
};
const denoiseSchema = z.strictObject(denoiseInputs);
const wanted = {
  tensors: z.array(z.string()).optional(),
  withRespectTo: z.enum(['masked', 'weights']).default('masked'),
  wantLatents: z.boolean().default(false),
  wantEmbeddings: z.boolean().default(false),
  checkpointing: checkpointingOption.default(false),
};
const gradientSchema = z.strictObject({ ...denoiseInputs, ...wanted, target: float32, weights: z.array(z.number()).optional() });
const vjpSchema = z.strictObject({ ...denoiseInputs, ...wanted, upstream: float32 });

/**
 * The UNet's output for noisy latents, `[B, C, h, w]`.
 * @param timesteps one per row, or one for all
 * @throws ConesError CONES_OPTION_INVALID, CONES_CONCEPT_MISMATCH, CONES_OUT_OF_MEMORY, CONES_ABORTED
 */
export async function denoise(
  session: Session,
  latents: Latents,
  timesteps: readonly number[],
  embeddings: Embeddings,
  options: DenoiseOptions = {},
): Promise<Float32Array> {
  const settings = parseOptions('denoise', denoiseSchema, ownOptions('denoise', options, { latents, timesteps, embeddings }));
  const input = await unetInput(session, settings);
  return session.job(settings.signal, (abort) => session.model.denoise({ ...input, abort }));
}

/**
 * The concept-implanting loss on given noisy latents and its gradients with respect to the K-V weights (Eq. 2–4).
 * @throws ConesError as {@link denoise}
 */
export async function conceptGradient(
  session: Session,
  latents: Latents,
  timesteps: readonly number[],
  embeddings: Embeddings,
  options: GradientOptions,
): Promise<ConceptGradient> {
  const settings = parseOptions('conceptGradient', gradientSchema, ownOptions('conceptGradient', options, { latents, timesteps, embeddings }));
  session.assertTextToImage('conceptGradient');
  const target = settings.target.slice();
  const { masks, ...input } = await unetInput(session, settings);
  const { batch } = input;
  const { wantLatents, wantEmbeddings, checkpointing } = settings;
  requireLength('target', target, latents.data.length);
  const weights = Float64Array.from(settings.weights ?? Array.from({ length: batch }, () => 1 / batch));
  requireLength('weights', weights, batch);
  const tensors = settings.tensors ?? session.kvTensors.map(({ name }) => name);
  const gradient = (of: Unmasked, rows = masks) => session.job(settings.signal, (abort) => session.model.gradient({ ...of, ...(rows ? { masks: rows } : {}), abort }));
  const whole = { ...input, target, weights, tensors, wantLatents, wantEmbeddings, checkpointing };
  const result =
    masks && settings.withRespectTo === 'weights'
      ? await gradientOfWeights(whole, shutInRows(session, batch, settings.concepts)!, async (of, shut) => {
          const mask = shut && (await session.mask(shut));
          return gradient(of, Array.from({ length: of.batch }, () => mask));
        })
      : await gradient(whole);
  return { ...result, gradients: new Map(tensors.map((name, i) => [name, result.gradients[i]!])) };
}

/**
 * The vector-Jacobian product of the UNet: with `upstream` = ∂L/∂output `[B, C, h, w]` of any loss L, the gradients of L.
 * @throws ConesError as {@link denoise}
 */
export async function vjp(
  session: Session,
  latents: Latents,
  timesteps: readonly number[],
  embeddings: Embeddings,
  given: Float32Array,
  options: VjpOptions = {},
): Promise<Vjp> {
  const settings = parseOptions('vjp', vjpSchema, ownOptions('vjp', options, { latents, timesteps, embeddings, upstream: given }));
  session.assertTextToImage('vjp');
  const upstream = settings.upstream.slice();
  const input = await unetInput(session, settings);
  requireLength('upstream', upstream, settings.latents.data.length);
  const { wantLatents, wantEmbeddings, checkpointing } = settings;
  const tensors = settings.tensors ?? session.kvTensors.map(({ name }) => name);
  const result = await session.job(settings.signal, (abort) => session.model.gradient({ ...input, upstream, tensors, wantLatents, wantEmbeddings, checkpointing, abort }));
  const { output, latents: ofLatents, embeddings: ofEmbeddings } = result;
  return {
    output: output!,
    gradients: new Map(tensors.map((name, i) => [name, result.gradients[i]!])),
    ...(ofLatents ? { latents: ofLatents } : {}),
    ...(ofEmbeddings ? { embeddings: ofEmbeddings } : {}),
  };
}

/** Masks of the batch rows, as the native calls take them. */
export async function rowMasks(
  session: Session,
  batch: number,
  concepts: DenoiseOptions['concepts'],
): Promise<(NativeMask | null)[] | undefined> {
  const rows = shutInRows(session, batch, concepts);
  return rows && Promise.all(rows.map((shut) => shut && session.mask(shut)));
}

/** What is shut in each batch row. */
function shutInRows(session: Session, batch: number, concepts: DenoiseOptions['concepts']): (Concept | null)[] | undefined {
  if (concepts === null || concepts === undefined) return undefined;
  const perRow = Array.isArray(concepts) && concepts.some((entry) => !(entry instanceof Concept));
  const rows = perRow ? (concepts as readonly RowConcepts[]) : Array.from({ length: batch }, () => concepts as RowConcepts);
  if (rows.length !== batch) {
    throw new ConesError('CONES_OPTION_INVALID', `concepts has ${rows.length} rows, the batch ${batch}; give one entry per row.`);
  }
  return rows.map((row) => shutInRow(session, row));
}

/** The union of a row's concepts (paper §3.2). */
function shutInRow(session: Session, concepts: RowConcepts): Concept | null {
  const [first, ...others] = concepts instanceof Concept ? [concepts] : (concepts ?? []);
  return first ? session.union(first, others) : null;
}

/** One row's mask. */
export async function rowMask(session: Session, concepts: RowConcepts): Promise<NativeMask | null> {
  const shut = shutInRow(session, concepts);
  return shut && session.mask(shut);
}

async function unetInput(session: Session, { latents, timesteps, embeddings, concepts }: z.output<typeof denoiseSchema>) {
  session.assertUsable();
  const [batch, channels, height, width] = latents.shape;
  const { inChannels, crossAttentionDim } = session.config.unet;
  if (channels !== inChannels) throw invalid(`the latents have ${channels} channels, the UNet takes ${inChannels}`);
  requireLength('latents', latents.data, batch * channels * height * width);
  // Masks may have to be made first, and whoever calls may write to the arrays meanwhile.
  const [latentData, embeddingData] = [latents.data.slice(), embeddings.data.slice()];
  const [rows, tokens, size] = embeddings.shape;
  if (rows !== batch || size !== crossAttentionDim) {
    throw invalid(`the embeddings are [${embeddings.shape.join(', ')}], wanted [${batch}, T, ${crossAttentionDim}]`);
  }
  requireLength('embeddings', embeddings.data, rows * tokens * size);
  const perRow = timesteps.length === 1 ? Array.from({ length: batch }, () => timesteps[0]!) : timesteps;
  requireLength('timesteps', perRow, batch);
  const masks = await rowMasks(session, batch, concepts);
  return {
    latents: latentData,
    batch,
    height,
    width,
    timesteps: Float64Array.from(perRow),
    embeddings: embeddingData,
    tokens,
    ...(masks ? { masks } : {}),
  };
}

/** A loop: `every` with a function takes ten times as long. */
export function allFinite(values: Float32Array): boolean {
  for (let i = 0; i < values.length; i++) if (!Number.isFinite(values[i])) return false;
  return true;
}

export function requireLength(name: string, data: { readonly length: number }, length: number): void {
  if (data.length !== length) throw invalid(`${name} has ${data.length} elements, wanted ${length}`);
}

function invalid(problem: string): ConesError {
  return new ConesError('CONES_OPTION_INVALID', `${problem.charAt(0).toUpperCase()}${problem.slice(1)}.`);
}
