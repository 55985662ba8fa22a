/** Which family of models an adapter is of, where it does not fit. */
import { ConesError } from '../errors';
import type { AdapterFile } from './file';
import type { Layers } from './layers';

/** By the values of their text states. */
const FAMILIES: Readonly<Record<number, string>> = { 768: 'Stable Diffusion 1.x', 1024: 'Stable Diffusion 2.x', 2048: 'Stable Diffusion XL' };

/** @param problem what does not fit, in words */
export function otherModel({ label, tensors }: AdapterFile, { textWidth }: Layers, problem: string): ConesError {
  const own = textWidthOf(tensors);
  const family = own === undefined || own === textWidth ? undefined : `it was made for ${FAMILIES[own] ?? 'another model'} (text states of ${own} values), and this model's have ${textWidth}`;
  return new ConesError('CONES_ADAPTER_MISMATCH', `${label} does not fit this model: ${family ?? problem}. Take an adapter that was made for this model.`);
}

function textWidthOf(tensors: AdapterFile['tensors']): number | undefined {
  for (const [name, { shape }] of tensors) {
    if (/^lora_te2_|^text_encoder_2\./.test(name)) return 2048;
    if (/attn2[._](?:processor\.)?to_[kv].*(?:down|lora_A|custom_diffusion)/.test(name) && shape.length >= 2) return shape[1];
  }
  return undefined;
}
