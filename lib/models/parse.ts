import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { ConesError } from '../errors';
import { brief, show } from '../util/show';
import type { JsonObject } from './read-json';

/** What is known about the keys of one kind of config file. */
export interface ConfigKeys<Shape extends z.ZodRawShape> {
  /** Keys that the engine acts on, with diffusers' (or transformers') defaults. */
  readonly used: Shape;
  /** Keys of which only these values are implemented. */
  readonly fixed: Readonly<Record<string, readonly unknown[]>>;
  /** Keys that change nothing here, whatever their value. */
  readonly ignored: readonly string[];
}

/**
 * Checks a config and returns its used keys. Unknown keys are harmless when they start with "_" or
 * are null, false or empty; any other might ask for something that the engine does not do.
 * @throws ConesError CONES_CONFIG_UNSUPPORTED naming file, key and value, or CONES_CONFIG_INVALID.
 */
export function parseConfig<Shape extends z.ZodRawShape>(
  file: string,
  json: JsonObject,
  keys: ConfigKeys<Shape>,
): z.infer<z.ZodObject<Shape>> {
  for (const [key, value] of Object.entries(json)) {
    if (key.startsWith('_') || Object.hasOwn(keys.used, key) || keys.ignored.includes(key)) continue;
    if (Object.hasOwn(keys.fixed, key)) {
      const supported = keys.fixed[key]!;
      if (!supported.some((allowed) => isDeepStrictEqual(allowed, value))) {
        throw unsupported(file, key, value, supported.map(show).join(' or '));
      }
    } else if (!(value === null || value === false || (Array.isArray(value) && value.length === 0))) {
      throw unsupported(file, key, value, 'null or false (the key is unknown)');
    }
  }
  const result = z.object(keys.used).safeParse(json);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const path = brief(issue.path.map(String).join('.'));
  const value = issue.path.reduce<unknown>((at, key) => (Object(at) as Record<PropertyKey, unknown>)[key], json);
  if (issue.code === 'invalid_value' && value !== undefined) {
    throw unsupported(file, path, value, issue.values.map(show).join(' or '));
  }
  throw invalid(file, value === undefined ? `"${path}" is missing` : `"${path}" is ${show(value)}: ${brief(issue.message)}`);
}

export function unsupported(file: string, key: string, value: unknown, supported: string): ConesError {
  return new ConesError(
    'CONES_CONFIG_UNSUPPORTED',
    `${brief(file)}: "${brief(key)}" is ${show(value)}, which the engine does not implement; supported: ${supported}.`,
  );
}

export function invalid(file: string, problem: string): ConesError {
  return new ConesError('CONES_CONFIG_INVALID', `${brief(file)}: ${problem}.`);
}

/** A whole number from 1; the bound, as the addon's, only keeps products of a few of them exact. */
export const count = z.int().min(1).max(2 ** 20);
/** Layers one behind another. */
export const layers = z.int().min(1).max(1024);
export const epsilon = z.number().positive().max(1);
/** A channel count per level; 16 levels are far more than any model has. */
export const channels = z.array(count).min(1).max(16);

/** That lists of one entry for each level are as long as `of`. */
export function checkLevels<K extends string>(file: string, config: Readonly<Record<K, readonly unknown[]>>, keys: readonly K[], of: K): void {
  for (const key of keys) {
    if (config[key].length !== config[of].length) throw invalid(file, `"${key}" has ${config[key].length} entries, but "${of}" has ${config[of].length}`);
  }
}

/** That group norms divide these channels. */
export function checkGroups(file: string, sizes: readonly number[], groups: number): void {
  const odd = sizes.find((value) => value % groups !== 0);
  if (odd !== undefined) throw invalid(file, `${odd} channels are not a multiple of "norm_num_groups" ${groups}`);
}
