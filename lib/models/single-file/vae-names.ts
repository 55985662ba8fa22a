/** The autoencoder of a CompVis checkpoint (latent-diffusion's model.py) under diffusers' names. */
import type { FileTensors } from './tensors';

const ATTENTION: Readonly<Record<string, string>> = { norm: 'group_norm', q: 'to_q', k: 'to_k', v: 'to_v', proj_out: 'to_out.0' };

/** @param tensors by their names in the file, without the prefix of the autoencoder */
export function vaeRename(tensors: FileTensors): (name: string) => string {
  const levels = countModules(tensors, /^decoder\.up\.(\d{1,2})\./);
  return (name) => {
    const [half, kind, index, ...rest] = name.split('.');
    if (kind === 'norm_out') return [half, 'conv_norm_out', index].join('.');
    if (kind === 'mid' && index === 'attn_1') return [half, 'mid_block.attentions.0', ATTENTION[rest[0]!] ?? rest[0], ...rest.slice(1)].join('.');
    if (kind === 'mid') return [half, 'mid_block.resnets', Number(index?.slice('block_'.length)) - 1, ...resnet(rest)].join('.');
    if (kind !== 'down' && kind !== 'up') return name;
    // Upwards, the file counts levels as on the way down.
    const level = kind === 'down' ? index : levels - 1 - Number(index);
    const [part, ...inner] = rest;
    const block = [half, `${kind}_blocks`, level];
    if (part === 'block') return [...block, 'resnets', inner[0], ...resnet(inner.slice(1))].join('.');
    return [...block, `${kind}samplers.0`, ...inner].join('.');
  };
}

function resnet([part, ...rest]: readonly string[]): string[] {
  return [part === 'nin_shortcut' ? 'conv_shortcut' : part!, ...rest];
}

/** One more than the largest number that names have in this place. */
export function countModules(tensors: FileTensors, pattern: RegExp): number {
  let count = 0;
  for (const name of tensors.keys()) {
    const found = pattern.exec(name);
    if (found) count = Math.max(count, Number(found[1]) + 1);
  }
  return count;
}
