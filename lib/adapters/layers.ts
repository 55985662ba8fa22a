/**
 * A model's layers under the names that adapters have for them: diffusers' (`mid_block.attentions.0.proj_in`), kohya's, which has
 * underscores for dots (`lora_unet_mid_block_attentions_0_proj_in`), and CompVis's in the same way (`lora_unet_middle_block_1_proj_in`).
 */
import type { NativeLayer } from '../../typings/native';

export class Layers {
  /** By diffusers' or transformers' name, the text encoder's without `text_model.` */
  readonly #unet = new Map<string, NativeLayer>();
  readonly #text = new Map<string, NativeLayer>();
  readonly #kohya = new Map<string, NativeLayer>();

  constructor(readonly all: readonly NativeLayer[]) {
    for (const layer of all) {
      const name = layer.name.replace(/\.weight$/, '').replace(/^text_model\./, '');
      (layer.part === 'unet' ? this.#unet : this.#text).set(name, layer);
      for (const prefix of layer.part === 'unet' ? ['lora_unet_'] : ['lora_te_text_model_', 'lora_te1_text_model_']) this.#kohya.set(prefix + underscored(name), layer);
    }
    const compvis = compvisNames([...this.#unet.keys()]);
    for (const [name, layer] of this.#unet) {
      const other = compvis(name);
      if (other !== undefined) this.#kohya.set(`lora_unet_${underscored(other)}`, layer);
    }
  }

  /** By kohya's name, without what follows the first dot. */
  byKohya(name: string): NativeLayer | undefined {
    return this.#kohya.get(name);
  }

  /** By diffusers', transformers' or PEFT's name, with or without the part's prefix. */
  byModule(given: string): NativeLayer | undefined {
    let name = given.replace(/^base_model\.model\./, '');
    const [, part] = /^(unet|text_encoder)\./.exec(name) ?? [];
    if (part !== undefined) name = name.slice(part.length + 1);
    name = name.replace(/^text_model\./, '').replace('.processor.', '.');
    // As diffusers once named them: attention processors' to_out, and the text encoder's projections.
    const unet = part === 'text_encoder' ? undefined : (this.#unet.get(name) ?? this.#unet.get(name.replace(/\.to_out$/, '.to_out.0')));
    return unet ?? (part === 'unet' ? undefined : this.#text.get(name.replace(/\.to_([qkv])$/, '.$1_proj').replace(/\.to_out$/, '.out_proj')));
  }

  /** Values of a text state, which tells Stable Diffusion 1.x, 2.x and XL apart. */
  get textWidth(): number | undefined {
    return this.all.find(({ name }) => name.endsWith('.attn2.to_k.weight'))?.shape[1];
  }
}

function underscored(name: string): string {
  return name.replaceAll('.', '_');
}

const TOP: Readonly<Record<string, string>> = {
  conv_in: 'input_blocks.0.0',
  conv_out: 'out.2',
  'time_embedding.linear_1': 'time_embed.0',
  'time_embedding.linear_2': 'time_embed.2',
};
const RESNET: Readonly<Record<string, string>> = { conv1: 'in_layers.2', conv2: 'out_layers.3', time_emb_proj: 'emb_layers.1', conv_shortcut: 'skip_connection' };

/** CompVis numbers blocks from input to output, each resnet and each downsampler one (lib/models/single-file/unet-names.ts has the way back). */
function compvisNames(modules: readonly string[]): (name: string) => string | undefined {
  const counts = { down: new Map<number, number>(), up: new Map<number, number>() };
  const downsampled = new Set<number>();
  const attending = new Set<string>();
  for (const name of modules) {
    const resnet = /^(down|up)_blocks\.(\d+)\.resnets\.(\d+)\.conv1$/.exec(name);
    if (resnet) {
      const of = counts[resnet[1] as 'down' | 'up'];
      of.set(Number(resnet[2]), Math.max(of.get(Number(resnet[2])) ?? 0, Number(resnet[3]) + 1));
    }
    const down = /^down_blocks\.(\d+)\.downsamplers\./.exec(name);
    if (down) downsampled.add(Number(down[1]));
    const attention = /^up_blocks\.(\d+)\.attentions\./.exec(name);
    if (attention) attending.add(attention[1]!);
  }
  const before = (of: ReadonlyMap<number, number>, level: number, also: (i: number) => number) => {
    let sum = 0;
    for (let i = 0; i < level; i++) sum += (of.get(i) ?? 0) + also(i);
    return sum;
  };
  const isDown = (i: number) => Number(downsampled.has(i));
  return (name) => {
    if (TOP[name] !== undefined) return TOP[name];
    const mid = /^mid_block\.(resnets|attentions)\.(\d+)\.(.+)$/.exec(name);
    if (mid) return block(`middle_block.${mid[1] === 'attentions' ? 1 : 2 * Number(mid[2])}`, mid[1]!, mid[3]!);
    const found = /^(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)$/.exec(name);
    if (!found) return undefined;
    const [, way, level = '', kind = '', index = '', rest = ''] = found;
    if (way === 'down') {
      const first = 1 + before(counts.down, Number(level), isDown);
      if (kind === 'downsamplers') return `input_blocks.${first + (counts.down.get(Number(level)) ?? 0)}.0.op`;
      return block(`input_blocks.${first + Number(index)}.${kind === 'attentions' ? 1 : 0}`, kind, rest);
    }
    const first = before(counts.up, Number(level), () => 0);
    if (kind === 'upsamplers') return `output_blocks.${first + (counts.up.get(Number(level)) ?? 0) - 1}.${attending.has(level) ? 2 : 1}.conv`;
    return block(`output_blocks.${first + Number(index)}.${kind === 'attentions' ? 1 : 0}`, kind, rest);
  };
}

function block(name: string, kind: string, rest: string): string {
  return `${name}.${kind === 'resnets' ? (RESNET[rest] ?? rest) : rest}`;
}
