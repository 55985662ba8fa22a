import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { ConesError } from '../errors';
import { reason } from '../show';

export type JsonObject = Record<string, unknown>;

/** Real configs nest four levels, tokenizers six. */
const MAX_DEPTH = 32;

/**
 * Reads a JSON file that must hold an object. Python's `Infinity` and `-Infinity`, which diffusers
 * writes, are understood.
 * @param maxBytes Larger files are refused unread; no config comes near the default of 1 MiB.
 * @throws ConesError CONES_MODEL_NOT_FOUND, CONES_IO or CONES_CONFIG_INVALID.
 */
export async function readJson(file: string, maxBytes = 2 ** 20): Promise<JsonObject> {
  const text = await readText(file, maxBytes);
  let value: unknown;
  try {
    value = JSON.parse(withoutPythonisms(text));
  } catch (cause) {
    throw new ConesError('CONES_CONFIG_INVALID', `${file} is not valid JSON: ${reason(cause)}`, { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ConesError('CONES_CONFIG_INVALID', `${file} must hold a JSON object.`);
  }
  return value as JsonObject;
}

/** Replaces `Infinity` by 1e999, which is JSON for it, and refuses nesting that would exhaust a stack later. */
function withoutPythonisms(text: string): string {
  let depth = 0;
  // Strings are matched whole, so that nothing inside them changes or counts.
  return text.replace(/"[^"\\]*(?:\\.[^"\\]*)*"|[[\]{}]|\bInfinity\b/g, (token) => {
    if (token === 'Infinity') return '1e999';
    if (token === '[' || token === '{') depth++;
    if (token === ']' || token === '}') depth--;
    if (depth > MAX_DEPTH) throw new Error(`nested deeper than ${MAX_DEPTH} levels`);
    return token;
  });
}

/** Reads a text file of at most `maxBytes`. */
export async function readText(file: string, maxBytes: number): Promise<string> {
  try {
    const status = await stat(file);
    // A pipe or a device may never end.
    if (!status.isFile()) throw fileError(file, new Error('it is not a regular file'));
    const { size } = status;
    if (size > maxBytes) {
      throw new ConesError('CONES_CONFIG_INVALID', `${file} has ${size} bytes; at most ${maxBytes} are expected.`);
    }
    return await readFile(file, 'utf8');
  } catch (cause) {
    if (cause instanceof ConesError) throw cause;
    throw fileError(file, cause);
  }
}

/**
 * The absolute path of a model's folder.
 * @throws ConesError CONES_OPTION_INVALID for what is no path
 */
export function folderPath(folder: unknown): string {
  if (typeof folder !== 'string' || folder === '') throw new ConesError('CONES_OPTION_INVALID', 'A model is loaded by the path of its folder, a text.');
  return path.resolve(folder);
}

/** What a failed access to a model's file means. */
export function fileError(file: string, cause: unknown): ConesError {
  const { code } = Object(cause) as { code?: unknown };
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return new ConesError(
      'CONES_MODEL_NOT_FOUND',
      `${file} does not exist. A model is a folder in diffusers layout (model_index.json, unet/, text_encoder/, ` +
        "vae/, tokenizer/, scheduler/), a CLIP pair one of transformers' CLIPModel (config.json, model.safetensors, a tokenizer's files).",
      { cause },
    );
  }
  return new ConesError('CONES_IO', `${file} cannot be read: ${reason(cause)}`, { cause });
}
