import { z } from 'zod';
import { Concept } from './concept';
import { ConesError } from './errors';

/**
 * Checks the options of a call against its schema.
 * @throws ConesError CONES_OPTION_INVALID naming the call, the option and what is wrong with it.
 */
export function parseOptions<Schema extends z.ZodType>(call: string, schema: Schema, options: unknown): z.output<Schema> {
  const result = schema.safeParse(options);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const path = issue.path.map(String).join('.');
  const unknown = issue.code === 'unrecognized_keys' ? issue.keys.join(', ') : '';
  const subject = unknown ? `the option ${unknown}` : path ? `the option ${path}` : 'the options';
  throw new ConesError('CONES_OPTION_INVALID', `${call}: ${subject}: ${issue.message}.`);
}

/** A seed: a whole number from 0 to 2^53 − 1, or any 64-bit bigint. */
export const seedOption = z.union([
  z.int().min(0),
  z.bigint().min(0n).max(2n ** 64n - 1n),
]);

export const signalOption = z
  .custom<AbortSignal>((value) => typeof (value as AbortSignal | undefined)?.addEventListener === 'function', 'must be an AbortSignal')
  .optional();

/** A picture file, or its bytes. */
export const imageOption = z.union([z.string().min(1), z.instanceof(Uint8Array)]);

export const conceptOption = z.custom<Concept>((value) => value instanceof Concept, 'must be a Concept (Concept.load(file))');

/** A callback option. */
export function functionOption<F>() {
  return z.custom<F>((value) => typeof value === 'function', 'must be a function').optional();
}
