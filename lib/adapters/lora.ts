/**
 * LoRA files: W + s · B A for each layer, in the names of kohya (stable-diffusion-webui, Civitai), diffusers and PEFT; with
 * convolutions (LoCon), also split into three (Tucker).
 */
import type { NativeAdapterLayer, NativeLayer } from '../../typings/native';
import { show } from '../util/show';
import { type AdapterFile, type AdapterTensor, invalid, numbersOf, quoted } from './file';
import type { Layers } from './layers';
import { otherModel } from './other-model';

type Role = 'down' | 'up' | 'mid' | 'alpha';

/** Of a tensor's name: what comes behind the layer's. */
const ROLE = /^(?<layer>.+?)(?:\.lora_(?<peft>[AB])(?:\.\w+)?\.weight|\.lora_(?<kohya>down|up|mid)\.weight|(?:_lora|\.lora|\.lora_linear_layer)\.(?<diffusers>down|up)\.weight|\.(?<alpha>alpha))$/;

interface Found {
  readonly layer: string;
  readonly role: Role;
}

function roleOf(name: string): Found | undefined {
  const { layer, peft, kohya, diffusers, alpha } = ROLE.exec(name)?.groups ?? {};
  if (layer === undefined) return undefined;
  if (alpha !== undefined) return { layer: layer.replace(/(?:_lora|\.lora|\.lora_linear_layer)$/, ''), role: 'alpha' };
  return { layer, role: peft === undefined ? ((kohya ?? diffusers) as Role) : peft === 'A' ? 'down' : 'up' };
}

/** What LoRA-like methods call the tensors that plain LoRA has not. */
const OTHER_METHODS: readonly (readonly [part: RegExp, what: string])[] = [
  [/\.(?:dora_scale|lora_magnitude_vector)(?:\.|$)/, 'DoRA'],
  [/\.hada_[wt]\d/, 'LoHa'],
  [/\.lokr_[wt]\d/, 'LoKr'],
  [/\.(?:oft_blocks|oft_diag|oft_r)(?:\.|$)/, 'OFT'],
  [/\.[ab][12]\.weight$/, 'GLoRA'],
  [/\.on_input$/, 'IA3'],
  [/\.diff(?:_b)?$/, 'whole changed weights ("full" of LyCORIS)'],
  [/\.lora_[AB]\.bias$|\.lora_(?:up|down)\.bias$/, 'LoRA with biases'],
];

export function isLora(names: Iterable<string>): boolean {
  for (const name of names) if (roleOf(name) !== undefined || otherMethod(name) !== undefined) return true;
  return false;
}

function otherMethod(name: string): string | undefined {
  return OTHER_METHODS.find(([part]) => part.test(name))?.[1];
}

/**
 * @throws ConesError CONES_ADAPTER_INVALID for a tensor that is none of a LoRA, CONES_ADAPTER_MISMATCH for a layer that the model has not
 */
export async function readLora(file: AdapterFile, layers: Layers): Promise<{ layers: NativeAdapterLayer[]; rank: number }> {
  const parts = new Map<NativeLayer, Partial<Record<Role, string>>>();
  const other = [...file.tensors.keys()].map(otherMethod).find((method) => method !== undefined);
  if (other !== undefined) throw invalid(file.label, `is ${other}, which the engine does not implement: take it as LoRA`);
  for (const name of file.tensors.keys()) {
    if (isBundled(name)) continue;
    const found = roleOf(name);
    if (found === undefined) throw invalid(file.label, `has the tensor ${quoted(name)}, which is none of a LoRA`);
    const layer = /^lora_(?:unet|te\d?)_/.test(found.layer) ? layers.byKohya(found.layer) : layers.byModule(found.layer);
    if (layer === undefined) throw otherModel(file, layers, `it changes ${quoted(found.layer)}`);
    const of = parts.get(layer) ?? {};
    const twin = of[found.role];
    if (twin !== undefined) throw invalid(file.label, `has both ${quoted(twin)} and ${quoted(name)}, for one layer`);
    of[found.role] = name;
    parts.set(layer, of);
  }
  const alphas = alphasOf(file, layers);
  const changes: NativeAdapterLayer[] = [];
  let most = 0;
  for (const [layer, { down, up, mid, alpha }] of parts) {
    if (down === undefined || up === undefined) throw invalid(file.label, `has ${quoted(down ?? up ?? alpha ?? mid ?? '')} without its other half`);
    const rank = rankOf(file, layers, layer, { down, up, mid });
    const scale = (alpha === undefined ? (alphas(layer, rank) ?? rank) : await scalar(file, alpha)) / rank;
    if (!Number.isFinite(scale)) throw invalid(file.label, `scales ${quoted(down)} by ${scale}`);
    const first = mid === undefined ? await file.read(down) : merged(await file.read(down), await file.read(mid));
    changes.push({ part: layer.part, name: layer.name, scale, down: first, up: await file.read(up) });
    most = Math.max(most, rank);
  }
  return { layers: changes, rank: most };
}

/** Embeddings that kohya's files may bring along. */
export function isBundled(name: string): boolean {
  return name.startsWith('bundle_emb.');
}

/** Checks the shapes of a layer's tensors before any of them is read. */
function rankOf(file: AdapterFile, layers: Layers, { name, shape: [out, into, height = 1, width = 1] }: NativeLayer, { down, up, mid }: { down: string; up: string; mid: string | undefined }): number {
  const shape = (of: string) => file.tensors.get(of)!.shape;
  const [rank = 0] = shape(down);
  const fits = (of: readonly number[], wanted: readonly number[]) => [...of, ...Array.from({ length: 4 - of.length }, () => 1)].join() === wanted.join();
  const window = mid === undefined ? [height, width] : [1, 1];
  const isFitting =
    rank > 0 && [2, 4].includes(shape(down).length) && fits(shape(down), [rank, into!, ...window]) && [2, 4].includes(shape(up).length) && fits(shape(up), [out!, rank, 1, 1]) && (mid === undefined || fits(shape(mid), [rank, rank, height, width]));
  if (isFitting) return rank;
  if (rank === 0 || shape(up).includes(0)) throw invalid(file.label, `has an empty tensor, ${quoted(down)} or ${quoted(up)}`);
  throw otherModel(file, layers, `${quoted(down)} is [${shape(down).join(', ')}] and ${quoted(up)} [${shape(up).join(', ')}], for ${name}, which is [${[out, into, height, width].join(', ')}]`);
}

/** Of PEFT's config, or of the metadata that diffusers writes from it. */
function alphasOf({ facts, label }: AdapterFile, layers: Layers): (layer: NativeLayer, rank: number) => number | undefined {
  const configs = { unet: new Map<string, unknown>(), text: new Map<string, unknown>() };
  const metadata = facts.get('lora_adapter_metadata');
  if (typeof metadata === 'string') {
    try {
      for (const [key, value] of Object.entries(JSON.parse(metadata) as object)) {
        const [, part, field] = /^(unet|text_encoder)\.(.+)$/.exec(key) ?? [];
        if (field !== undefined) configs[part === 'unet' ? 'unet' : 'text'].set(field, value);
      }
    } catch {
      throw invalid(label, 'has metadata that is no JSON');
    }
  }
  for (const [key, value] of facts) {
    if (key.startsWith('peft.')) for (const config of Object.values(configs)) config.set(key.slice('peft.'.length), value);
  }
  for (const config of Object.values(configs)) {
    if (config.get('use_dora') === true) throw invalid(label, 'is DoRA, which the engine does not implement: take it as LoRA');
  }
  const patterns = { unet: patternOf(configs.unet, layers), text: patternOf(configs.text, layers) };
  return ({ part, name }, rank) => {
    const config = configs[part];
    const alpha = patterns[part](name) ?? config.get('lora_alpha');
    if (alpha === undefined || alpha === null) return undefined;
    if (typeof alpha !== 'number') throw invalid(label, `has the alpha ${show(alpha)}`);
    // Rank-stabilised: alpha / √rank.
    return config.get('use_rslora') === true ? alpha * Math.sqrt(rank) : alpha;
  };
}

/** PEFT's `alpha_pattern`: alphas by the ends of modules' names. */
function patternOf(config: ReadonlyMap<string, unknown>, { all }: Layers): (name: string) => unknown {
  const pattern = config.get('alpha_pattern');
  if (typeof pattern !== 'object' || pattern === null) return () => undefined;
  const entries = Object.entries(pattern).slice(0, all.length);
  const alphas = new Map(entries);
  return (name) => {
    const parts = name.replace(/\.weight$/, '').split('.');
    for (let i = 0; i < parts.length; i++) {
      const alpha: unknown = alphas.get(parts.slice(i).join('.'));
      if (alpha !== undefined) return alpha;
    }
    return undefined;
  };
}

async function scalar(file: AdapterFile, name: string): Promise<number> {
  const { shape, dtype, bytes } = file.tensors.get(name)!;
  const isOne = shape.every((side) => side === 1);
  if (!isOne || bytes > 8 || dtype.startsWith('I')) {
    if (isOne && dtype === 'I64') return Number((await file.readStored(name)).readBigInt64LE());
    if (isOne && dtype === 'I32') return (await file.readStored(name)).readInt32LE();
    throw invalid(file.label, `has ${quoted(name)} of ${show(dtype)} [${shape.slice(0, 8).join(', ')}], where one number is expected`);
  }
  return numbersOf(await file.read(name))[0]!;
}

/** Tucker: A [r, K] and the core C [r, r, kh, kw] as one convolution Σ_s C[r, s] A[s]. */
function merged(down: AdapterTensor, mid: AdapterTensor): AdapterTensor {
  const [rank, into] = down.shape as [number, number];
  const [, , height, width] = mid.shape as [number, number, number, number];
  const [a, core] = [numbersOf(down), numbersOf(mid)];
  const taps = height * width;
  const product = new Float32Array(rank * into * taps);
  for (let r = 0; r < rank; r++) {
    for (let s = 0; s < rank; s++) {
      for (let tap = 0; tap < taps; tap++) {
        const factor = core[(r * rank + s) * taps + tap]!;
        for (let k = 0; k < into; k++) product[(r * into + k) * taps + tap]! += factor * a[s * into + k]!;
      }
    }
  }
  return { dtype: 'F32', shape: [rank, into, height, width], data: new Uint8Array(product.buffer) };
}
