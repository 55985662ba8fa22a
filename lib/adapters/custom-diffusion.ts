/** Custom Diffusion as diffusers saves it (`pytorch_custom_diffusion_weights`): whole weights in place of cross-attention's. */
import type { NativeAdapterLayer, NativeLayer } from '../../typings/native';
import { type AdapterFile, invalid, quoted } from './file';
import type { Layers } from './layers';
import { otherModel } from './other-model';

const NAME = /^(?<module>.+)\.processor\.(?<layer>to_[kvq]|to_out)_custom_diffusion(?<index>\.0)?\.(?<kind>weight|bias)$/;

export function isCustomDiffusion(names: readonly string[]): boolean {
  return names.some((name) => NAME.test(name));
}

/** @throws ConesError CONES_ADAPTER_INVALID, CONES_ADAPTER_MISMATCH */
export async function readCustomDiffusion(file: AdapterFile, layers: Layers): Promise<NativeAdapterLayer[]> {
  const parts = new Map<NativeLayer, { weight?: string; bias?: string }>();
  for (const [name, { shape }] of file.tensors) {
    const { module, layer: projection, index = '', kind } = NAME.exec(name)?.groups ?? {};
    if (module === undefined) throw invalid(file.label, `has the tensor ${quoted(name)}, which is none of Custom Diffusion`);
    const layer = layers.byModule(`${module}.${projection}${index}`);
    if (layer?.part !== 'unet') throw otherModel(file, layers, `it changes ${quoted(name)}`);
    const wanted = kind === 'bias' ? layer.shape.slice(0, 1) : layer.shape;
    if (shape.join() !== wanted.join()) throw otherModel(file, layers, `${quoted(name)} is [${shape.slice(0, 8).join(', ')}], where the model has [${wanted.join(', ')}]`);
    parts.set(layer, { ...parts.get(layer), [kind!]: name });
  }
  const changes: NativeAdapterLayer[] = [];
  for (const [{ part, name }, { weight, bias }] of parts) {
    if (weight === undefined) throw invalid(file.label, `has ${quoted(bias ?? '')} without its weight`);
    changes.push({ part, name, weight: await file.read(weight), ...(bias === undefined ? {} : { bias: await file.read(bias) }) });
  }
  return changes;
}
