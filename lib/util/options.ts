import { SAMPLER_NAMES, samplerByName } from '../diffusion/sampler-names';
import { AsyncResource } from 'node:async_hooks';
import { types } from 'node:util';
import { z } from 'zod';
import { Concept } from '../concept';
import { ConesError } from '../errors';
import { PROMPT_SYNTAXES } from '../text/prompt-syntax';
import { type ImageInput, isImageInput, isPath } from '../images/picture-source';
import { reading } from './reading';
import { brief } from './show';

/**
 * Checks the options of a call against its schema.
 * @throws ConesError CONES_OPTION_INVALID naming the call, the option and what is wrong with it.
 */
export function parseOptions<Schema extends z.ZodType>(call: string, schema: Schema, options: unknown): z.output<Schema> {
  const result = reading(call, () => schema.safeParse(options));
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const path = issue.path.map(String).join('.');
  const unknown = issue.code === 'unrecognized_keys' ? issue.keys.join(', ') : '';
  const subject = unknown ? `the option ${brief(unknown)}` : path ? `the option ${brief(path)}` : 'the options';
  throw new ConesError('CONES_OPTION_INVALID', `${call}: ${subject}: ${brief(issue.message)}.`);
}

/** A seed: a whole number from 0 to 2^53 − 1, or any 64-bit bigint. */
export const seedOption = z.union([
  z.int().min(0),
  z.bigint().min(0n).max(2n ** 64n - 1n),
], 'must be a whole number from 0, or a bigint of 64 bits');

/** Not `instanceof`: a signal may come from another realm. */
export const signalOption = z
  .custom<AbortSignal>((value) => {
    const { aborted, addEventListener, removeEventListener } = Object(value) as Partial<AbortSignal>;
    return typeof aborted === 'boolean' && typeof addEventListener === 'function' && typeof removeEventListener === 'function';
  }, 'must be an AbortSignal')
  .optional();

export const promptOption = z.union([z.string(), z.array(z.string()).min(1).max(4096)], 'must be a text, or a list of 1 to 4096 texts');

export const promptSyntaxOption = z.enum(PROMPT_SYNTAXES).default('plain');

/** Not `instanceof`, for the same reason. */
export const bytesOption = z.custom<Uint8Array>(types.isUint8Array, 'must be a Uint8Array');

/** A picture file, or its bytes. */
export const imageOption = z.custom<ImageInput>(isImageInput, 'must be the path of a picture, or its bytes (a Buffer, Uint8Array, ArrayBuffer, Blob or File)');

/**
 * @param options what of a call's options could name files, by name: a value, or a list of them
 * @throws ConesError CONES_OPTION_INVALID unless they name none
 */
export function refusePaths(call: string, options: Readonly<Record<string, unknown>>): void {
  const named = Object.entries(options).find(([, value]) => (Array.isArray(value) ? value : [value]).some(isPath));
  if (named === undefined) return;
  throw new ConesError('CONES_OPTION_INVALID', `${call}: the option ${named[0]}: may name no file here (allowPaths: false). Give the bytes of a picture, and a Clip that is loaded.`);
}

export const conceptOption = z.custom<Concept>((value) => value instanceof Concept, 'must be a Concept (Concept.load(file))');

/**
 * A callback option. Nobody waits for an asynchronous one: what it rejects with is thrown by its next call, and so ends the job as if
 * it had been thrown there. It runs in the asynchronous context (AsyncLocalStorage) of the call that it was given to, not in that in
 * which the addon was loaded.
 */
export function functionOption<F extends (...values: never[]) => void>() {
  return z
    .custom<F>((value) => typeof value === 'function', 'must be a function')
    .transform((callback): F => {
      let rejected: { readonly error: unknown } | undefined;
      const bound = AsyncResource.bind((...values: Parameters<F>): unknown => callback(...values));
      const call = (...values: Parameters<F>): void => {
        if (rejected) throw rejected.error;
        const result = bound(...values);
        if (types.isPromise(result)) result.catch((error: unknown) => (rejected = { error }));
      };
      return call as F;
    })
    .optional();
}

/** A callback that is waited for, in the asynchronous context of the call that it was given to. */
export function asyncFunctionOption<F extends (...values: never[]) => unknown>() {
  return z.custom<F>((value) => typeof value === 'function', 'must be a function').transform((callback) => {
    const bound = AsyncResource.bind((...values: Parameters<F>): unknown => callback(...values));
    return async (...values: Parameters<F>): Promise<void> => void (await bound(...values));
  });
}
/** A sampler by any of its names. */
export const samplerOption = z.string().transform((text, context) => {
  const found = samplerByName(text.slice(0, 100));
  if (found === undefined) context.addIssue({ code: 'custom', message: `must be one of ${SAMPLER_NAMES.join(', ')}, or a name such as "DPM++ 2M Karras"` });
  return found ?? z.NEVER;
});
