import { lstatSync, readlinkSync } from 'node:fs';
import path from 'node:path';
import { ConesError } from '../errors';
import { readRegularFile, TooLong } from '../util/files';
import { jsonDepth, withoutPythonisms } from '../util/json-text';
import { mistakenFor } from './mistaken-file';
import { brief, reason } from '../util/show';

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
    // What is nested deeper would be safe to parse, but would exhaust a stack later.
    if (jsonDepth(text) > MAX_DEPTH) throw new Error(`nested deeper than ${MAX_DEPTH} levels`);
    value = JSON.parse(withoutPythonisms(text));
  } catch (cause) {
    const why = mistakenFor(Buffer.from(text.slice(0, 1000), 'utf8')) ?? brief(reason(cause));
    throw new ConesError('CONES_CONFIG_INVALID', `${brief(file)} is not valid JSON: ${why}`, { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ConesError('CONES_CONFIG_INVALID', `${brief(file)} must hold a JSON object.`);
  }
  return value as JsonObject;
}

/** Reads a text file of at most `maxBytes`. */
export async function readText(file: string, maxBytes: number): Promise<string> {
  try {
    return (await readRegularFile(file, { most: maxBytes })).toString('utf8');
  } catch (error) {
    const cause = error instanceof ConesError ? error.cause : error;
    if (cause instanceof TooLong) throw new ConesError('CONES_CONFIG_INVALID', `${brief(file)} is not what it should be: ${cause.message}.`, { cause });
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
    return new ConesError('CONES_MODEL_NOT_FOUND', danglingLink(file) ?? `${brief(file)} does not exist. ${LAYOUT}`, { cause });
  }
  return new ConesError('CONES_IO', `${brief(file)} cannot be read: ${brief(reason(cause))}`, { cause });
}

/** What a model's folder looks like. */
export const LAYOUT =
  'A model is a folder in diffusers layout (model_index.json, unet/, text_encoder/, vae/, tokenizer/, scheduler/) or a single .safetensors or .ckpt file, ' +
  "a CLIP pair one of transformers' CLIPModel (config.json, model.safetensors, a tokenizer's files).";

/** The cache of the Hugging Face hub links a model's files to blobs, some of which are gone after a download that broke off or a clean-up. */
export function danglingLink(file: string): string | undefined {
  try {
    if (!lstatSync(file).isSymbolicLink()) return undefined;
    return `${brief(file)} is a link to ${brief(readlinkSync(file))}, which is not there. Download the model again (hf download), or copy it with its links followed.`;
  } catch {
    return undefined;
  }
}
