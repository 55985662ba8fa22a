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

/** Not `instanceof`: a signal may come from another realm. */
export const signalOption = z
  .custom<AbortSignal>((value) => {
    const { aborted, addEventListener, removeEventListener } = Object(value) as Partial<AbortSignal>;
    return typeof aborted === 'boolean' && typeof addEventListener === 'function' && typeof removeEventListener === 'function';
  }, 'must be an AbortSignal')
  .optional();

/** A picture file, or its bytes. */
export const imageOption = z.union([z.string().min(1), z.instanceof(Uint8Array)]);

export const conceptOption = z.custom<Concept>((value) => value instanceof Concept, 'must be a Concept (Concept.load(file))');

/**
 * A callback option. Nobody waits for an asynchronous one: what it rejects with is thrown by its next call, and so ends the job as if
 * it had been thrown there.
 */
export function functionOption<F extends (...values: never[]) => void>() {
  return z
    .custom<F>((value) => typeof value === 'function', 'must be a function')
    .transform((callback): F => {
      let rejected: { readonly error: unknown } | undefined;
      const call = (...values: Parameters<F>): void => {
        if (rejected) throw rejected.error;
        const result: unknown = callback(...values);
        if (result instanceof Promise) result.catch((error: unknown) => (rejected = { error }));
      };
      return call as F;
    })
    .optional();
}
