/** The captions of a search's pictures: every text once, and for each picture which of them it has. */
import type { Subject } from '../../concept';
import type { Moments } from '../../engine/pictures';
import type { Session } from '../../engine/session';
import type { Embeddings } from '../../engine/tensors';
import { encodePrompts } from '../../engine/text';
import { namesSubject } from '../../text/prompt';
import { type HeldOut, heldOutRows } from '../../analysis/report';

export interface Captions {
  readonly texts: readonly string[];
  /** Per picture, indices of texts; subject pictures first. */
  readonly perPicture: readonly (readonly number[])[];
}

export function listCaptions(captions: readonly (readonly string[])[]): Captions {
  const texts = [...new Set(captions.flat())];
  const index = new Map(texts.map((text, i) => [text, i]));
  return { texts, perPicture: captions.map((list) => list.map((caption) => index.get(caption)!)) };
}

/** Held-out rows of subject and prior. */
export interface HeldOutPair {
  readonly subject: HeldOut;
  readonly prior: HeldOut | null;
}

/** Text states [T, D] of captions, by their texts. */
export type CaptionStates = ReadonlyMap<string, Float32Array>;

/** Of all encoded captions, those that held-out rows have: every picture's first. */
export function firstCaptions({ texts, perPicture }: Captions, { data, shape: [, tokens, width] }: Embeddings): CaptionStates {
  const size = tokens * width;
  const first = new Set(perPicture.map(([caption]) => caption!));
  return new Map([...first].map((caption) => [texts[caption]!, data.slice(caption * size, (caption + 1) * size)]));
}

/** The same with a learned embedding, which only captions that name the subject have in them. */
export async function learnedCaptions(session: Session, states: CaptionStates, subject: Subject, signal: AbortSignal | undefined): Promise<CaptionStates> {
  const naming = [...states.keys()].filter((text) => namesSubject(text, subject));
  const encoded = await encodePrompts(session, naming, naming.map(() => [subject]), signal);
  return new Map([...states, ...firstCaptions({ texts: naming, perPicture: naming.map((_, i) => [i]) }, encoded)]);
}

/** Rows to measure losses on, every picture with its first caption. */
export function heldOutPair(
  captions: Captions,
  states: CaptionStates,
  pictures: { readonly subject: Moments; readonly prior: Moments | null },
  options: { readonly rows: number; readonly tokens: number; readonly range: readonly [number, number]; readonly seed: bigint },
): HeldOutPair {
  const ofPicture = captions.perPicture.map(([caption]) => states.get(captions.texts[caption!]!)!);
  const rows = (moments: Moments, first: number) => {
    const texts = ofPicture.slice(first, first + moments.shape[0]);
    return heldOutRows(moments, texts, options.tokens, options.rows, options.range, options.seed);
  };
  return {
    subject: rows(pictures.subject, 0),
    prior: pictures.prior && rows(pictures.prior, pictures.subject.shape[0]),
  };
}
