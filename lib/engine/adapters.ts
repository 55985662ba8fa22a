/** Adapters of an engine: loading them, and which of them a picture is drawn with. */
import { z } from 'zod';
import type { NativeAdapterUse } from '../../typings/native';
import { Adapter, adapterParts, makeAdapter } from '../adapter';
import { withAdapterFile } from '../adapters/file';
import { Layers } from '../adapters/layers';
import { readAdapter } from '../adapters/read';
import type { Word } from '../adapters/textual-inversion';
import { ConesError } from '../errors';
import { bytesOption, parseOptions, signalOption } from '../util/options';
import { ownOptions } from '../util/reading';
import type { Session } from './session';

export interface LoadAdapterOptions {
  /** What pictures call it; of one word of textual inversion, the word in prompts. Default: the file's name, and the word that the file has. */
  readonly name?: string;
  readonly signal?: AbortSignal;
}

/** One of a picture's adapters. */
export interface AdapterUse {
  readonly adapter: Adapter;
  /** How much of it, from −100 to 100; 0 is without it. A word of textual inversion has no other than 1. Default 1. */
  readonly weight?: number;
}

/** An adapter as `generate` takes it: with a weight, or by itself. */
export type AdapterChoice = Adapter | AdapterUse;

const loadSchema = z.strictObject({
  file: z.union([z.string().min(1), bytesOption], 'must be the path of a file, or its bytes (a Uint8Array)'),
  name: z.string().min(1).max(200).optional(),
  signal: signalOption,
});

/** As {@link AdapterChoice}, weights filled in. */
export interface ChosenAdapter {
  readonly adapter: Adapter;
  readonly weight: number;
}

export const adapterOption = z.custom<Adapter>((value) => value instanceof Adapter, 'must be an Adapter (engine.loadAdapter(file))');
const choice = z.union(
  [adapterOption.transform((adapter) => ({ adapter, weight: 1 })), z.strictObject({ adapter: adapterOption, weight: z.number().min(-100).max(100).default(1) })],
  'must be an Adapter (engine.loadAdapter(file)), or one with a weight from -100 to 100: { adapter, weight }',
);
/** All that a picture may have. */
const choices = z.array(choice).max(64);
export const adaptersOption = z.union([choices, z.array(choices).min(1).max(4096)], 'must be a list of adapters ({ adapter, weight }), or one such list per prompt').default([]);

/**
 * Engine.loadAdapter.
 * @throws ConesError CONES_ADAPTER_INVALID, CONES_ADAPTER_MISMATCH, CONES_SAFETENSORS_INVALID, CONES_CHECKPOINT_INVALID, CONES_IO,
 *   CONES_OUT_OF_MEMORY, CONES_OPTION_INVALID, CONES_ABORTED, CONES_DISPOSED
 */
export async function loadAdapter(session: Session, source: string | Uint8Array, options: LoadAdapterOptions = {}): Promise<Adapter> {
  const { file: given, name, signal } = parseOptions('loadAdapter', loadSchema, ownOptions('loadAdapter', options, { file: source }));
  session.assertUsable();
  session.assertPathsAllowed('loadAdapter', { file: given });
  const layers = new Layers(session.model.adaptable());
  return withAdapterFile(given, async (file) => {
    const { layers: changes, ...contents } = await readAdapter(file, layers, session.config.text.hiddenSize, name);
    const native = changes.length === 0 ? undefined : await session.job(signal, (abort) => session.model.createAdapter(changes, { abort }));
    if (native) session.addPart(native);
    return makeAdapter({ ...contents, session, native, layers: changes.length, name: name ?? (file.stem || contents.kind), hash: file.hash });
  });
}

/**
 * The adapters of each prompt.
 * @throws ConesError CONES_OPTION_INVALID, CONES_DISPOSED, CONES_ADAPTER_MISMATCH
 */
export function adaptersPerPrompt(session: Session, adapters: z.output<typeof adaptersOption>, prompts: number): (readonly ChosenAdapter[])[] {
  const isFlat = (list: typeof adapters): list is ChosenAdapter[] => list.every((entry) => !Array.isArray(entry));
  const lists = isFlat(adapters) ? Array.from({ length: prompts }, () => adapters) : (adapters as ChosenAdapter[][]);
  if (lists.length !== prompts) {
    throw new ConesError('CONES_OPTION_INVALID', `adapters has ${lists.length} lists for ${prompts} prompts; give one list per prompt.`);
  }
  for (const { adapter, weight } of new Set(lists.flat())) {
    adapterParts(adapter, session);
    if (adapter.kind === 'textual-inversion' && weight !== 1) {
      throw new ConesError('CONES_OPTION_INVALID', `The weight of ${JSON.stringify(adapter.name)} must be 1: a word of textual inversion is in the prompt or not.`);
    }
  }
  return lists.map((list) => list.filter(({ weight }) => weight !== 0));
}

/** Of a picture, as the addon takes them; undefined where none changes a layer. */
export function nativeAdapters(session: Session, adapters: readonly ChosenAdapter[]): NativeAdapterUse[] | undefined {
  const uses = adapters.flatMap(({ adapter, weight }) => {
    const { native } = adapterParts(adapter, session);
    return native ? [{ adapter: native, weight }] : [];
  });
  return uses.length > 0 ? uses : undefined;
}

/** Words that they bring into prompts. */
export function wordsOf(session: Session, adapters: readonly ChosenAdapter[]): Word[] {
  return adapters.flatMap(({ adapter }) => adapterParts(adapter, session).words);
}
