/** What native searches and trainings learn from, of the same inputs, and how they are begun. */
import { createHash } from 'node:crypto';
import type { NativeData } from '../../../typings/native';
import type { Subject } from '../../concept';
import { alphasCumprod } from '../../diffusion/schedule';
import { type Checkpointing, checkpointingLevels } from '../../engine/checkpointing';
import type { Moments } from '../../engine/pictures';
import type { Session } from '../../engine/session';
import { encodePrompts, type EncodedTexts } from '../../engine/text';
import { ConesError } from '../../errors';
import type { Warning } from '../../warning';
import { joinMoments } from './moments';
import type { Captions } from './captions';

export interface LearningInputs {
  readonly subjects: readonly Subject[];
  readonly subjectMoments: Moments;
  readonly priorMoments: Moments | null;
  readonly captions: Captions;
  /** Timesteps [min, max). */
  readonly range: readonly [number, number];
}

export interface LearningSettings {
  readonly batchSize: number;
  readonly priorBatchSize?: number | undefined;
  readonly priorWeight: number;
  readonly seed: number | bigint;
  readonly signal?: AbortSignal | undefined;
  readonly onWarning?: ((warning: Warning) => void) | undefined;
}

/** Adam's defaults, PyTorch's. */
export const ADAM = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 } as const;

type Data = Omit<NativeData, 'abort' | 'checkpointing' | 'identifier'>;

/** Encodes the captions, too. */
export async function dataOptions(session: Session, settings: LearningSettings, inputs: LearningInputs): Promise<{ readonly data: Data; readonly encoded: EncodedTexts }> {
  const pictures = inputs.priorMoments ? joinMoments([inputs.subjectMoments, inputs.priorMoments]) : inputs.subjectMoments;
  const { texts, perPicture } = inputs.captions;
  const encoded = await encodePrompts(session, texts, texts.map(() => inputs.subjects), settings.signal);
  for (const warning of encoded.warnings) settings.onWarning?.(warning);
  let captionCount = 0;
  const offsets = [0, ...perPicture.map(({ length }) => (captionCount += length))];
  const [, , height, width] = pictures.shape;
  const data = {
    batch: pictures.shape[0],
    height,
    width,
    moments: pictures.data,
    subjects: inputs.subjectMoments.shape[0],
    embeddings: encoded.data,
    tokens: encoded.shape[1],
    captions: Int32Array.from(perPicture.flat()),
    captionOffsets: Int32Array.from(offsets),
    latentScale: session.config.vae.scalingFactor,
    subjectBatch: settings.batchSize,
    priorBatch: inputs.priorMoments ? (settings.priorBatchSize ?? settings.batchSize) : 0,
    priorWeight: settings.priorWeight,
    alphasCumprod: alphasCumprod(session.config.scheduler),
    prediction: session.config.scheduler.predictionType,
    minTimestep: inputs.range[0],
    maxTimestep: inputs.range[1],
    seed: BigInt(settings.seed),
  };
  return { data, encoded };
}

/** With as few activations recomputed as memory allows, unless the caller has chosen. */
export async function withCheckpointing<T>(chosen: Checkpointing | undefined, create: (checkpointing: Checkpointing) => Promise<T>): Promise<T> {
  const first = async ([checkpointing, ...others]: readonly Checkpointing[]): Promise<T> => {
    try {
      return await create(checkpointing!);
    } catch (error) {
      if (others.length > 0 && error instanceof ConesError && error.code === 'CONES_OUT_OF_MEMORY') return first(others);
      throw error;
    }
  };
  return first(checkpointingLevels(chosen));
}

/** SHA-256 over everything that a native search or training was made from. */
export function digestOf(fingerprint: string, ...parts: readonly object[]): Buffer {
  const hash = createHash('sha256').update(fingerprint);
  for (const [key, value] of parts.flatMap((part) => Object.entries(part) as [string, unknown][])) {
    hash.update(`\n${key}:`);
    hash.update(ArrayBuffer.isView(value) ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength) : String(value));
  }
  return hash.digest();
}
