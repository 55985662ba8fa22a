/** Writes models in one file, and PyTorch's checkpoints, from the folders of test/goldens. Independent of the readers in lib/models. */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { crc32 } from 'node:zlib';

export interface RawTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Buffer;
}
export type RawTensors = Map<string, RawTensor>;

export function readRaw(file: string): RawTensors {
  const bytes = readFileSync(file);
  const start = 8 + Number(bytes.readBigUInt64LE());
  const header = JSON.parse(bytes.toString('utf8', 8, start)) as Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;
  delete header['__metadata__'];
  return new Map(Object.entries(header).map(([name, { dtype, shape, data_offsets: [from, to] }]) => [name, { dtype, shape, bytes: bytes.subarray(start + from, start + to) }]));
}

export function writeSafetensors(file: string, tensors: RawTensors): string {
  let at = 0;
  const header: Record<string, object> = {};
  for (const [name, { dtype, shape, bytes }] of tensors) header[name] = { dtype, shape, data_offsets: [at, (at += bytes.length)] };
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  writeFileSync(file, Buffer.concat([length, text, ...Array.from(tensors.values(), ({ bytes }) => bytes)]));
  return file;
}

/** The tensors of a folder in diffusers layout under CompVis's names; `second`: with OpenCLIP's text encoder. */
export function compVis(folder: string, { second = false } = {}): RawTensors {
  const config = (part: string) => JSON.parse(readFileSync(path.join(folder, part, 'config.json'), 'utf8')) as Record<string, unknown>;
  const unet = config('unet');
  const levels = (unet['block_out_channels'] as number[]).length;
  const layers = unet['layers_per_block'] as number;
  const modules = unetModules(levels, layers, unet['up_block_types'] as string[]);
  const vaeLevels = (config('vae')['block_out_channels'] as number[]).length;
  const out: RawTensors = new Map();
  for (const [name, tensor] of readRaw(path.join(folder, 'unet', 'diffusion_pytorch_model.safetensors'))) out.set(`model.diffusion_model.${unetName(name, modules)}`, tensor);
  for (const [name, tensor] of readRaw(path.join(folder, 'vae', 'diffusion_pytorch_model.safetensors'))) {
    const isMatrix = name.includes('mid_block.attentions') && tensor.shape.length === 2;
    out.set(`first_stage_model.${vaeName(name, vaeLevels)}`, isMatrix ? { ...tensor, shape: [...tensor.shape, 1, 1] } : tensor);
  }
  const text = new Map(Array.from(readRaw(path.join(folder, 'text_encoder', 'model.safetensors')), ([name, tensor]) => [name.replace(/^text_model\./, ''), tensor]));
  if (second) for (const [name, tensor] of openClip(text)) out.set(`cond_stage_model.model.${name}`, tensor);
  else for (const [name, tensor] of text) out.set(`cond_stage_model.transformer.text_model.${name}`, tensor);
  return out;
}

function unetModules(levels: number, layers: number, upTypes: readonly string[]): Map<string, string> {
  const modules = new Map([
    ['time_embedding.linear_1', 'time_embed.0'], ['time_embedding.linear_2', 'time_embed.2'], ['conv_in', 'input_blocks.0.0'], ['conv_norm_out', 'out.0'], ['conv_out', 'out.2'],
    ['mid_block.resnets.0', 'middle_block.0'], ['mid_block.attentions.0', 'middle_block.1'], ['mid_block.resnets.1', 'middle_block.2'],
  ]);
  for (let level = 0, block = 1; level < levels; level++) {
    for (let layer = 0; layer < layers; layer++, block++) {
      modules.set(`down_blocks.${level}.resnets.${layer}`, `input_blocks.${block}.0`);
      modules.set(`down_blocks.${level}.attentions.${layer}`, `input_blocks.${block}.1`);
    }
    modules.set(`down_blocks.${level}.downsamplers.0.conv`, `input_blocks.${block++}.0.op`);
  }
  for (let level = 0, block = 0; level < levels; level++) {
    for (let layer = 0; layer <= layers; layer++, block++) {
      modules.set(`up_blocks.${level}.resnets.${layer}`, `output_blocks.${block}.0`);
      modules.set(`up_blocks.${level}.attentions.${layer}`, `output_blocks.${block}.1`);
    }
    modules.set(`up_blocks.${level}.upsamplers.0.conv`, `output_blocks.${block - 1}.${upTypes[level]!.startsWith('CrossAttn') ? 2 : 1}.conv`);
  }
  return modules;
}

function unetName(name: string, modules: ReadonlyMap<string, string>): string {
  const [module, ours] = [...modules].find(([start]) => name.startsWith(`${start}.`))!;
  const rest = name.slice(module.length + 1);
  if (!module.includes('resnets')) return `${ours}.${rest}`;
  const parts: Record<string, string> = { norm1: 'in_layers.0', conv1: 'in_layers.2', norm2: 'out_layers.0', conv2: 'out_layers.3', time_emb_proj: 'emb_layers.1', conv_shortcut: 'skip_connection' };
  return `${ours}.${rest.replace(/^[^.]+/, (part) => parts[part]!)}`;
}

function vaeName(name: string, levels: number): string {
  return name
    .replace(/down_blocks\.(\d+)\.resnets/, 'down.$1.block')
    .replace(/down_blocks\.(\d+)\.downsamplers\.0/, 'down.$1.downsample')
    .replace(/up_blocks\.(\d+)\.resnets/, (_, level: string) => `up.${levels - 1 - Number(level)}.block`)
    .replace(/up_blocks\.(\d+)\.upsamplers\.0/, (_, level: string) => `up.${levels - 1 - Number(level)}.upsample`)
    .replace(/mid_block\.resnets\.(\d)/, (_, layer: string) => `mid.block_${Number(layer) + 1}`)
    .replace(/mid_block\.attentions\.0\.(.+)$/, (_, rest: string) => `mid.attn_1.${rest.replace('group_norm', 'norm').replace(/to_([qkv])/, '$1').replace('to_out.0', 'proj_out')}`)
    .replace('conv_shortcut', 'nin_shortcut')
    .replace('conv_norm_out', 'norm_out');
}

function openClip(text: RawTensors): RawTensors {
  const out: RawTensors = new Map();
  const get = (name: string) => text.get(name)!;
  let layer = 0;
  for (; text.has(`encoder.layers.${layer}.layer_norm1.weight`); layer++) {
    const from = `encoder.layers.${layer}`;
    const to = `transformer.resblocks.${layer}`;
    for (const kind of ['weight', 'bias']) {
      const [q, k, v] = ['q', 'k', 'v'].map((part) => get(`${from}.self_attn.${part}_proj.${kind}`));
      const [rows, ...rest] = q!.shape;
      out.set(`${to}.attn.in_proj_${kind}`, { dtype: q!.dtype, shape: [3 * rows!, ...rest], bytes: Buffer.concat([q!, k!, v!].map(({ bytes }) => bytes)) });
      for (const [ours, theirs] of [['self_attn.out_proj', 'attn.out_proj'], ['layer_norm1', 'ln_1'], ['layer_norm2', 'ln_2'], ['mlp.fc1', 'mlp.c_fc'], ['mlp.fc2', 'mlp.c_proj']]) {
        out.set(`${to}.${theirs}.${kind}`, get(`${from}.${ours}.${kind}`));
      }
    }
  }
  // Stable Diffusion 2.x has one more, whose output it does not look at.
  for (const [name, tensor] of [...out]) if (name.includes(`resblocks.${layer - 1}.`)) out.set(name.replace(`resblocks.${layer - 1}.`, `resblocks.${layer}.`), { ...tensor, bytes: Buffer.alloc(tensor.bytes.length) });
  out.set('token_embedding.weight', get('embeddings.token_embedding.weight'));
  out.set('positional_embedding', get('embeddings.position_embedding.weight'));
  out.set('ln_final.weight', get('final_layer_norm.weight'));
  out.set('ln_final.bias', get('final_layer_norm.bias'));
  out.set('logit_scale', { dtype: 'F32', shape: [], bytes: Buffer.alloc(4) });
  return out;
}

/** Instructions of a pickle. */
export const ops = {
  text: (value: string) => {
    const bytes = Buffer.from(value);
    return Buffer.concat([Buffer.from('X'), u32(bytes.length), bytes]);
  },
  int: (value: number) => {
    const long = Buffer.alloc(10);
    long.set([0x8a, 8]);
    long.writeBigInt64LE(BigInt(value), 2);
    return long;
  },
  global: (module: string, name: string) => Buffer.from(`c${module}\n${name}\n`),
  tuple: (...items: readonly Buffer[]) => Buffer.concat([Buffer.from('('), ...items, Buffer.from('t')]),
  dict: (entries: Iterable<readonly [string, Buffer]>) => Buffer.concat([Buffer.from('}('), ...Array.from(entries, ([key, value]) => Buffer.concat([ops.text(key), value])), Buffer.from('u')]),
  reduce: (callable: Buffer, ...items: readonly Buffer[]) => Buffer.concat([callable, ops.tuple(...items), Buffer.from('R')]),
  pickle: (...body: readonly Buffer[]) => Buffer.concat([Buffer.from([0x80, 2]), ...body, Buffer.from('.')]),
};

const STORAGES: Record<string, string> = { F32: 'FloatStorage', F16: 'HalfStorage', BF16: 'BFloat16Storage', I64: 'LongStorage' };

export function pickledTensor(key: string, dtype: string, shape: readonly number[], changes: { strides?: number[]; offset?: number; length?: number } = {}): Buffer {
  const size = shape.reduce((a, b) => a * b, 1);
  const strides = changes.strides ?? shape.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1));
  const id = ops.tuple(ops.text('storage'), ops.global('torch', STORAGES[dtype]!), ops.text(key), ops.text('cpu'), ops.int(changes.length ?? size));
  return ops.reduce(
    ops.global('torch._utils', '_rebuild_tensor_v2'),
    Buffer.concat([id, Buffer.from('Q')]), ops.int(changes.offset ?? 0), ops.tuple(...shape.map(ops.int)), ops.tuple(...strides.map(ops.int)), Buffer.from([0x89]), ops.reduce(ops.global('collections', 'OrderedDict')),
  );
}

/** As torch.save. */
export function writeCheckpoint(file: string, tensors: RawTensors, { wrapped = false } = {}): string {
  const entries = [...tensors];
  const dict = ops.dict(entries.map(([name, { dtype, shape }], i) => [name, pickledTensor(String(i), dtype, shape)] as const));
  const pickle = ops.pickle(wrapped ? ops.dict([['epoch', ops.int(1)], ['state_dict', dict]]) : dict);
  writeFileSync(file, zip([['archive/data.pkl', pickle], ...entries.map(([, { bytes }], i) => [`archive/data/${i}`, bytes] as const), ['archive/version', Buffer.from('3\n')]]));
  return file;
}

export interface ZipChanges {
  /** Of every entry. */
  readonly method?: number;
  readonly flags?: number;
  readonly crc?: number;
}

/** An archive of stored entries. */
export function zip(entries: readonly (readonly [string, Buffer])[], { method = 0, flags = 0, crc }: ZipChanges = {}): Buffer {
  const parts: Buffer[] = [];
  const central: Buffer[] = [];
  let at = 0;
  for (const [name, data] of entries) {
    const common = Buffer.concat([u16(20), u16(flags), u16(method), u32(0), u32(crc ?? crc32(data)), u32(data.length), u32(data.length), u16(name.length)]);
    const local = Buffer.concat([u32(0x04034b50), common, u16(0), Buffer.from(name)]);
    central.push(Buffer.concat([u32(0x02014b50), u16(20), common, u16(0), u16(0), u16(0), u16(0), u32(0), u32(at), Buffer.from(name)]));
    parts.push(local, data);
    at += local.length + data.length;
  }
  const directory = Buffer.concat(central);
  const end = Buffer.concat([u32(0x06054b50), u16(0), u16(0), u16(entries.length), u16(entries.length), u32(directory.length), u32(at), u16(0)]);
  return Buffer.concat([...parts, directory, end]);
}

export function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
