import { ConesError } from '../../errors';
import type { SearchSettings } from './options';

/** Indices of the K-V weights that a search covers. */
export function selectTensors(tensors: readonly { readonly name: string }[], layers: SearchSettings['layers']): number[] {
  const wanted = ({ name }: { readonly name: string }) => {
    const attention = name.includes('.attn1.') ? layers.self : layers.cross;
    const projection = name.includes('.to_k.') ? layers.keys : layers.values;
    return attention && projection;
  };
  const selected = tensors.flatMap((tensor, index) => (wanted(tensor) ? [index] : []));
  if (selected.length === 0) {
    throw new ConesError('CONES_OPTION_INVALID', 'findConcept: the option layers leaves nothing to search; set self or cross, and keys or values.');
  }
  return selected;
}
