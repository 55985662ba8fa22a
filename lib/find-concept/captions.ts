/** The captions of a search's pictures: every text once, and for each picture which of them it has. */
import type { Subject } from '../concept';
import type { Moments } from '../engine/pictures';
import type { Session } from '../engine/session';
import { encodePrompts } from '../engine/text';
import { type HeldOut, heldOutRows } from './report';

export interface Captions {
  readonly texts: readonly string[];
  /** Per picture, indices of texts; subject pictures first. */
  readonly perPicture: readonly (readonly number[])[];
}

export function listCaptions(captions: readonly (readonly string[])[]): Captions {
  const texts = [...new Set(captions.flat())];
  return { texts, perPicture: captions.map((list) => list.map((caption) => texts.indexOf(caption))) };
}

/** Held-out rows of subject and prior. */
export interface HeldOutPair {
  readonly subject: HeldOut;
  readonly prior: HeldOut | null;
}

/**
 * Rows to measure losses on, every picture with its first caption.
 * @param subject whose identifier the captions have, with or without a learned embedding
 */
export async function heldOutPair(
  session: Session,
  captions: Captions,
  subject: Subject,
  pictures: { readonly subject: Moments; readonly prior: Moments | null },
  options: { readonly rows: number; readonly range: readonly [number, number]; readonly seed: bigint; readonly signal: AbortSignal | undefined },
): Promise<HeldOutPair> {
  const { data, shape } = await encodePrompts(session, captions.texts, captions.texts.map(() => [subject]), options.signal);
  const size = data.length / captions.texts.length;
  const rows = (moments: Moments, first: number) => {
    const count = moments.shape[0];
    const texts = new Float32Array(count * size);
    captions.perPicture.slice(first, first + count).forEach(([text], i) => texts.set(data.subarray(text! * size, (text! + 1) * size), i * size));
    return heldOutRows(moments, texts, shape[1], options.rows, options.range, options.seed);
  };
  return {
    subject: rows(pictures.subject, 0),
    prior: pictures.prior && rows(pictures.prior, pictures.subject.shape[0]),
  };
}
