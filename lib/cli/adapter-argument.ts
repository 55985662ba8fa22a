import type { Adapter } from '../adapter';
import type { Engine } from '../engine';
import { ConesError } from '../errors';
import { brief } from '../util/show';

/** `ink.safetensors:0.8`: the adapter of a file, and how much of it. A drive's letter (`C:\\…`) is no weight. */
const WEIGHTED = /^(.+):([-+]?(?:\d+(?:\.\d+)?|\.\d+))$/s;

/** What --adapter says: a file, or `FILE:WEIGHT`. */
export function parseAdapter(argument: string): { readonly file: string; readonly weight?: number } {
  const [, file, weight] = WEIGHTED.exec(argument) ?? [];
  if (file === undefined) return { file: argument };
  if (Math.abs(Number(weight)) > 100) throw new ConesError('CONES_OPTION_INVALID', `--adapter ${brief(argument)}: a weight is from -100 to 100.`);
  return { file, weight: Number(weight) };
}

/** Those of all --adapter flags, with their weights, 1 where none is given. */
export async function loadAdapters(engine: Engine, flags: readonly string[] | undefined, signal: AbortSignal): Promise<{ adapter: Adapter; weight: number }[]> {
  const loaded = [];
  for (const { file, weight = 1 } of (flags ?? []).map(parseAdapter)) loaded.push({ adapter: await engine.loadAdapter(file, { signal }), weight });
  return loaded;
}
