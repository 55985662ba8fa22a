/** What an adapter's file changes of a model: of whichever kind it is. */
import type { NativeAdapterLayer } from '../../typings/native';
import { isCustomDiffusion, readCustomDiffusion } from './custom-diffusion';
import { type AdapterFile, invalid } from './file';
import type { Layers } from './layers';
import { isLora, readLora } from './lora';
import { isTextualInversion, readBundledWords, readWords, type Word } from './textual-inversion';

export type AdapterKind = 'lora' | 'textual-inversion' | 'custom-diffusion';

export interface AdapterContents {
  readonly kind: AdapterKind;
  readonly layers: readonly NativeAdapterLayer[];
  /** The largest of a LoRA's layers; 0 for other kinds. */
  readonly rank: number;
  readonly words: readonly Word[];
}

/**
 * @param textWidth values of an embedding of the text encoder
 * @param name a word's name in prompts
 * @throws ConesError CONES_ADAPTER_INVALID, CONES_ADAPTER_MISMATCH, CONES_OPTION_INVALID, CONES_IO
 */
export async function readAdapter(file: AdapterFile, layers: Layers, textWidth: number, name: string | undefined): Promise<AdapterContents> {
  const names = [...file.tensors.keys()];
  if (isCustomDiffusion(names)) return { kind: 'custom-diffusion', layers: await readCustomDiffusion(file, layers), rank: 0, words: [] };
  if (isLora(names)) return { kind: 'lora', ...(await readLora(file, layers)), words: await readBundledWords(file, textWidth) };
  if (isTextualInversion(names)) return { kind: 'textual-inversion', layers: [], rank: 0, words: await readWords(file, textWidth, name) };
  throw invalid(file.label, names.length === 0 ? 'has no tensors' : 'is no LoRA, nor of textual inversion or Custom Diffusion');
}
