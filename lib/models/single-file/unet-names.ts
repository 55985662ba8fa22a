/**
 * The UNet of a CompVis checkpoint (latent-diffusion's openaimodel.py), whose blocks are numbered from input to output, under
 * diffusers' names, which are by level; and what its tensors tell of its config.
 */
import type { FileTensors } from './tensors';

/** Of one resolution, on the way down. */
export interface Level {
  channels: number;
  /** Resnets. */
  layers: number;
  /** Transformer blocks of each attention; 0: none. */
  depth: number;
}

export interface UNetNames {
  /** Ours of the file's, without the prefix of the UNet. */
  readonly rename: (name: string) => string;
  readonly levels: readonly Level[];
  /** Per level on the way up: transformer blocks of each attention. */
  readonly upDepths: readonly number[];
  readonly midBlock: boolean;
}

const TOP: Readonly<Record<string, string>> = {
  'time_embed.0': 'time_embedding.linear_1',
  'time_embed.2': 'time_embedding.linear_2',
  'input_blocks.0.0': 'conv_in',
  'out.0': 'conv_norm_out',
  'out.2': 'conv_out',
  'middle_block.0': 'mid_block.resnets.0',
  'middle_block.1': 'mid_block.attentions.0',
  'middle_block.2': 'mid_block.resnets.1',
};

const RESNET: Readonly<Record<string, string>> = {
  'in_layers.0': 'norm1',
  'in_layers.2': 'conv1',
  'out_layers.0': 'norm2',
  'out_layers.3': 'conv2',
  'emb_layers.1': 'time_emb_proj',
  skip_connection: 'conv_shortcut',
};

/** A model has some dozens. */
const MOST_BLOCKS = 1024;

/** @param tensors by their names in the file, without the prefix of the UNet */
export function readUNetNames(tensors: FileTensors): UNetNames {
  const modules = new Map(Object.entries(TOP));
  const levels: Level[] = [];
  const upDepths: number[] = [];
  const has = (name: string) => tensors.has(name);
  const depthOf = depthCounter(tensors);

  let level: Level = { channels: 0, layers: 0, depth: 0 };
  for (let i = 1; i < MOST_BLOCKS; i++) {
    const block = `input_blocks.${i}`;
    if (has(`${block}.0.op.weight`)) {
      modules.set(`${block}.0.op`, `down_blocks.${levels.length}.downsamplers.0.conv`);
      levels.push(level);
      level = { channels: 0, layers: 0, depth: 0 };
      continue;
    }
    const channels = tensors.get(`${block}.0.out_layers.3.weight`)?.shape[0];
    if (channels === undefined) break;
    modules.set(`${block}.0`, `down_blocks.${levels.length}.resnets.${level.layers}`);
    modules.set(`${block}.1`, `down_blocks.${levels.length}.attentions.${level.layers}`);
    level = { channels, layers: level.layers + 1, depth: Math.max(level.depth, depthOf(`${block}.1`)) };
  }
  levels.push(level);

  let layer = 0;
  let depth = 0;
  for (let i = 0; i < MOST_BLOCKS && has(`output_blocks.${i}.0.out_layers.3.weight`); i++) {
    const block = `output_blocks.${i}`;
    modules.set(`${block}.0`, `up_blocks.${upDepths.length}.resnets.${layer}`);
    const own = depthOf(`${block}.1`);
    if (own > 0) modules.set(`${block}.1`, `up_blocks.${upDepths.length}.attentions.${layer}`);
    depth = Math.max(depth, own);
    layer++;
    const upsampler = [1, 2].find((part) => has(`${block}.${part}.conv.weight`));
    if (upsampler === undefined) continue;
    modules.set(`${block}.${upsampler}.conv`, `up_blocks.${upDepths.length}.upsamplers.0.conv`);
    upDepths.push(depth);
    layer = 0;
    depth = 0;
  }
  upDepths.push(depth);
  return { rename: (name) => rename(name, modules), levels, upDepths, midBlock: has('middle_block.0.in_layers.0.weight') };
}

function rename(name: string, modules: ReadonlyMap<string, string>): string {
  const parts = name.split('.');
  // The longest module that is known: 'output_blocks.2.1.conv' before 'output_blocks.2.1'.
  for (const length of [4, 3, 2]) {
    const module = modules.get(parts.slice(0, length).join('.'));
    if (module === undefined) continue;
    const rest = parts.slice(length);
    if (!module.includes('.resnets.')) return [module, ...rest].join('.');
    const inner = [2, 1].map((n) => [RESNET[rest.slice(0, n).join('.')], n] as const).find(([known]) => known !== undefined);
    return inner === undefined ? name : [module, inner[0], ...rest.slice(inner[1])].join('.');
  }
  return name;
}

/** Counts transformer blocks of a module, each name looked at once. */
function depthCounter(tensors: FileTensors): (module: string) => number {
  const depths = new Map<string, number>();
  for (const name of tensors.keys()) {
    const found = /^((?:input|output)_blocks\.\d+\.\d+)\.transformer_blocks\.(\d{1,4})\./.exec(name);
    if (found) depths.set(found[1]!, Math.max(depths.get(found[1]!) ?? 0, Number(found[2]) + 1));
  }
  return (module) => depths.get(module) ?? 0;
}
