/** Models of other families, by the names that people know. */
import { ConesError } from '../errors';
import { brief, show } from '../util/show';
import type { JsonObject } from './read-json';

export const SDXL = 'Stable Diffusion XL (SDXL)';

/** Beginnings of pipelines' class names in diffusers. */
const PIPELINES: readonly (readonly [string, string])[] = [
  ['StableDiffusionXL', SDXL],
  ['StableDiffusion3', 'Stable Diffusion 3'],
  ['Flux', 'FLUX'],
  ['PixArt', 'PixArt'],
  ['Kandinsky', 'Kandinsky'],
  ['StableCascade', 'Stable Cascade'],
];

/**
 * Names the family where a model_index.json tells that it is another than the engine's.
 * @throws ConesError CONES_CONFIG_UNSUPPORTED
 */
export function checkFamily(file: string, index: JsonObject): void {
  const className = String(index['_class_name']);
  const [, name] = PIPELINES.find(([start]) => className.startsWith(start)) ?? [];
  if (name !== undefined) throw otherFamily(file, index, '_class_name', name);
  if (isPart(index['text_encoder_2'])) throw otherFamily(file, index, 'text_encoder_2', SDXL);
  if (isPart(index['transformer'])) throw otherFamily(file, index, 'transformer', 'a diffusion transformer, not a UNet');
}

/** [null, null] says that a part is not there. */
function isPart(entry: unknown): boolean {
  return Array.isArray(entry) && entry.some((part) => part !== null);
}

/** @param key what tells the family */
export function otherFamily(file: string, json: JsonObject, key: string, family: string): ConesError {
  return new ConesError(
    'CONES_CONFIG_UNSUPPORTED',
    `${brief(file)}: "${key}" is ${show(json[key])}: the model is ${family}, which the engine does not implement; ` +
      'supported: Stable Diffusion 1.x and 2.x-base, and models trained from them.',
  );
}
