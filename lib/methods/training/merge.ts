import { setImmediate } from 'node:timers/promises';
import { z } from 'zod';
import type { Subject } from '../../concept';
import { assertNotAborted, type Session } from '../../engine/session';
import { encodePrompts } from '../../engine/text';
import { ConesError } from '../../errors';
import { identifierKey } from '../../text/identifier-key';
import { encodeWithOwnTokens } from '../../text/own-tokens';
import { resolvePrompt, subjectCaption } from '../../text/prompt';
import { parseOptions, signalOption } from '../../util/options';
import { runInPieces } from '../../util/pieces';
import { ownOptions } from '../../util/reading';
import type { FloatTensor } from '../../util/write-safetensors';
import { mergeMatrix, mergeProjection, type Rows } from './constrained-merge';
import { REGULAR_CAPTIONS } from './regular-captions';
import { Trained, type TrainedSubject } from './trained';

export interface MergeOptions {
  /** Captions whose results should stay as they are, at least as many as make the text features' dimension. Default: 640 of many things. */
  readonly regularCaptions?: readonly string[];
  readonly signal?: AbortSignal;
}

const schema = z.strictObject({
  trained: z.array(z.custom<Trained>((value) => value instanceof Trained, 'must be what train() has made')).min(2).max(8),
  regularCaptions: z.array(z.string().regex(/\P{White_Space}/u, 'must not be blank')).min(1).max(10_000).optional(),
  signal: signalOption,
});

/** Texts encoded at once: their states are megabytes each. */
const GROUP = 16;

/**
 * Engine.mergeCustomDiffusion.
 * @throws ConesError CONES_OPTION_INVALID, CONES_CONCEPT_MISMATCH, CONES_ABORTED, CONES_DISPOSED
 */
export async function mergeCustomDiffusion(session: Session, trained: readonly Trained[], options: MergeOptions = {}): Promise<Trained> {
  const settings = parseOptions('mergeCustomDiffusion', schema, ownOptions('mergeCustomDiffusion', options, { trained }));
  session.assertUsable();
  const { signal } = settings;
  const parts = checkedParts(session, settings.trained);
  const width = session.config.unet.crossAttentionDim;

  const words: { readonly rows: Rows; readonly part: Trained }[] = [];
  for (const part of settings.trained) {
    for (const subject of part.subjects) words.push({ rows: await subjectWords(session, subject, part, signal), part });
  }
  const all = joinRows(words.map(({ rows }) => rows));
  const projection = await runInPieces(mergeProjection(await regularRows(session, settings.regularCaptions ?? REGULAR_CAPTIONS, signal), all, width));
  const weights = new Map<string, FloatTensor>();
  for (const { name, shape, index } of parts) {
    assertNotAborted(signal);
    const own = words.flatMap(({ rows, part }) => Array.from({ length: rows.count }, () => part.weights.get(name)!.values));
    weights.set(name, { shape, values: await runInPieces(mergeMatrix(session.model.kvValues(index), own, all, projection, width)) });
  }
  return new Trained({
    method: 'custom-diffusion',
    subjects: settings.trained.flatMap(({ subjects }) => subjects),
    steps: 0,
    embeddings: new Map(settings.trained.flatMap(({ embeddings }) => [...embeddings])),
    weights,
    modelFolder: session.config.folder,
  });
}

/** The matrices of the cross-attention, which all of them must have. */
function checkedParts(session: Session, trained: readonly Trained[]) {
  if (trained.some(({ method }) => method !== 'custom-diffusion')) throw problem('trained: only what Custom Diffusion has made can be merged');
  const names = trained.flatMap(({ subjects }) => subjects.map(({ identifier }) => identifierKey(identifier)));
  if (new Set(names).size < names.length) throw problem('trained: two of them have the same identifier: train each with its own, such as V2*');
  const parts = session.kvTensors.flatMap(({ name, shape }, index) => (name.includes('.attn2.') ? [{ name, shape, index }] : []));
  const fits = (part: Trained) => part.weights.size === parts.length && parts.every(({ name, shape }) => part.weights.get(name)?.shape.join() === shape.join());
  if (!trained.every(fits)) throw new ConesError('CONES_CONCEPT_MISMATCH', 'mergeCustomDiffusion: the weights do not fit this model: load the model that they were trained with.');
  return parts;
}

/** Text features of the words that name the subject: its identifier and category in "photo of a V1* cat". */
async function subjectWords(session: Session, { identifier, token, category }: TrainedSubject, part: Trained, signal: AbortSignal | undefined): Promise<Rows> {
  const subject: Subject = { identifier, token, category, embedding: { dtype: 'float32', values: part.embeddings.get(identifier)!.values } };
  const caption = subjectCaption(identifier, category);
  const resolved = resolvePrompt(caption, [subject]);
  const { pieceOfToken, length } = encodeWithOwnTokens(session.tokenizer, session.config.text.vocabSize, resolved, [subject]);
  const first = pieceOfToken.findIndex((piece) => resolved.pieces[piece]?.subject !== undefined);
  const { data, shape } = await encodePrompts(session, [caption], [[subject]], signal);
  return { values: data.slice(first * shape[2], (length - 1) * shape[2]), count: length - 1 - first };
}

/** Those of all words of captions, without beginning, end and padding. */
async function regularRows(session: Session, captions: readonly string[], signal: AbortSignal | undefined): Promise<Rows> {
  const rows: Rows[] = [];
  for (let first = 0; first < captions.length; first += GROUP) {
    const some = captions.slice(first, first + GROUP);
    const { data, shape: [, tokens, width] } = await encodePrompts(session, some, some.map(() => []), signal);
    some.forEach((caption, i) => {
      const count = session.tokenizer.encode(caption).length - 2;
      rows.push({ values: data.slice((i * tokens + 1) * width, (i * tokens + 1 + count) * width), count });
    });
    await setImmediate();
  }
  return joinRows(rows);
}

function joinRows(parts: readonly Rows[]): Rows {
  const values = new Float32Array(parts.reduce((sum, part) => sum + part.values.length, 0));
  let end = 0;
  for (const part of parts) {
    values.set(part.values, end);
    end += part.values.length;
  }
  return { values, count: parts.reduce((sum, { count }) => sum + count, 0) };
}

function problem(what: string): ConesError {
  return new ConesError('CONES_OPTION_INVALID', `mergeCustomDiffusion: the option ${what}.`);
}
