/**
 * Text encoders of CompVis checkpoints under transformers' names: CLIP as transformers has it (Stable Diffusion 1.x), and OpenCLIP
 * (2.x), which keeps queries, keys and values in one matrix, one behind the other.
 */
import type { FileTensor, FileTensors } from './tensors';

export const CLIP = 'cond_stage_model.transformer.';
export const OPEN_CLIP = 'cond_stage_model.model.';

const TOP: Readonly<Record<string, string>> = {
  positional_embedding: 'embeddings.position_embedding.weight',
  'token_embedding.weight': 'embeddings.token_embedding.weight',
  'ln_final.weight': 'final_layer_norm.weight',
  'ln_final.bias': 'final_layer_norm.bias',
};
const LAYER: Readonly<Record<string, string>> = {
  'ln_1': 'layer_norm1',
  'ln_2': 'layer_norm2',
  'attn.out_proj': 'self_attn.out_proj',
  'mlp.c_fc': 'mlp.fc1',
  'mlp.c_proj': 'mlp.fc2',
};
const PROJECTIONS = ['q_proj', 'k_proj', 'v_proj'];

/** Layers of OpenCLIP's text tower that Stable Diffusion 2.x uses: all but the last, whose output it does not look at. */
export function usedLayers(layers: number): number {
  return layers - 1;
}

/** @param tensors by their names in the file, without the prefix {@link OPEN_CLIP} */
export function* openClipTensors(tensors: FileTensors, layers: number): Generator<readonly [string, FileTensor]> {
  for (const [name, tensor] of tensors) {
    const top = TOP[name];
    if (top !== undefined) yield [`text_model.${top}`, tensor];
    const found = /^transformer\.resblocks\.(\d{1,3})\.(.+)$/.exec(name);
    if (!found || Number(found[1]) >= layers) continue;
    const layer = `text_model.encoder.layers.${found[1]}`;
    const part = found[2]!;
    if (part.startsWith('attn.in_proj_')) {
      const thirds = split(tensor);
      for (const [i, third] of thirds.entries()) yield [`${layer}.self_attn.${PROJECTIONS[i]}.${part.slice('attn.in_proj_'.length)}`, third];
      continue;
    }
    const dot = part.lastIndexOf('.');
    yield [`${layer}.${LAYER[part.slice(0, dot)] ?? part.slice(0, dot)}${part.slice(dot)}`, tensor];
  }
}

/** [3 · D, …] as three of [D, …]. */
function split(tensor: FileTensor): FileTensor[] {
  const [rows = 0, ...rest] = tensor.shape;
  const shape = [Math.floor(rows / 3), ...rest];
  return [0, 1, 2].map((i) => ({ ...tensor, shape, offset: tensor.offset + (i * tensor.bytes) / 3, bytes: tensor.bytes / 3 }));
}
