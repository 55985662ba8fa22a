/** An adapter's file, safetensors or a pickle of PyTorch: its tensors by name, read when they are wanted. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { ConesError } from '../errors';
import { type FileTensor, readSingleFile, type SingleFile } from '../models/single-file/tensors';
import { weightFileSize } from '../models/weight-file';
import { ioError, readJsonFile } from '../util/files';
import { brief, show } from '../util/show';

/** Numbers as the addon takes them. */
export interface AdapterTensor {
  readonly dtype: 'F32' | 'F16' | 'BF16';
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

export interface AdapterFile {
  /** For messages: its path, or "the given bytes". */
  readonly label: string;
  /** Of the file, without folder and ending; '' for bytes. */
  readonly stem: string;
  readonly tensors: ReadonlyMap<string, FileTensor>;
  /** Numbers and texts beside the tensors: of a pickle, of a safetensors file's metadata, of PEFT's adapter_config.json. */
  readonly facts: ReadonlyMap<string, unknown>;
  /** SHA-256 of the file, "sha256:…". */
  readonly hash: string;
  /** CONES_ADAPTER_INVALID for a tensor of another type, or an empty one. */
  read(name: string): Promise<AdapterTensor>;
  /** The bytes as they lie in the file, of any type. */
  readStored(name: string): Promise<Buffer>;
}

/** LoRAs of all layers have 800 tensors, those of SDXL some thousand. */
const MOST_TENSORS = 20_000;
const LONGEST_NAME = 512;
const MOST_BYTES = 2 ** 32;
const MOST_METADATA = 2 ** 24;

/**
 * Reads a file, and what `use` wants of it.
 * @param source its path, or its bytes, which are put into a file of their own meanwhile
 * @throws ConesError CONES_ADAPTER_INVALID, CONES_SAFETENSORS_INVALID, CONES_CHECKPOINT_INVALID, CONES_IO
 */
export async function withAdapterFile<T>(source: string | Uint8Array, use: (file: AdapterFile) => Promise<T>): Promise<T> {
  if (typeof source === 'string') return use(await openAdapter(path.resolve(source), brief(source), path.basename(source, path.extname(source))));
  let folder: string | undefined;
  try {
    folder = await mkdtemp(path.join(os.tmpdir(), 'cones-adapter-'));
    await writeFile(path.join(folder, 'adapter'), source, { mode: 0o600 });
  } catch (cause) {
    if (folder) await rm(folder, { recursive: true, force: true });
    throw ioError('The bytes of an adapter cannot be put into a temporary file', cause);
  }
  try {
    return await use(await openAdapter(path.join(folder, 'adapter'), 'The adapter', ''));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function openAdapter(file: string, label: string, stem: string): Promise<AdapterFile> {
  const single = await read(file, label);
  const { tensors, scattered } = single;
  let bytes = 0;
  for (const [name, tensor] of tensors) {
    if (name.length > LONGEST_NAME) throw invalid(label, `has a tensor with a name of ${name.length} characters`);
    bytes += tensor.bytes;
  }
  if (tensors.size > MOST_TENSORS) throw invalid(label, `has ${tensors.size} tensors, where adapters have some thousands at most`);
  const [size, hash] = await Promise.all([fileSize(file), hashOf(file)]);
  // Of a pickle many tensors may be views of one storage.
  if (bytes > MOST_BYTES || bytes > 2 * size + MOST_METADATA) throw invalid(label, `says that it has ${bytes} bytes of numbers, in a file of ${size}`);
  const stored = (name: string) => readStored(file, label, tensors.get(name)!);
  const [odd] = scattered;
  if (odd !== undefined) throw invalid(label, `has the tensor ${quoted(odd)}, whose elements do not lie together: save it as safetensors`);
  return { label, stem, tensors, hash, facts: await factsOf(file, single), read: async (name) => tensorOf(label, name, tensors.get(name)!, await stored(name)), readStored: stored };
}

async function read(file: string, label: string): Promise<SingleFile> {
  try {
    return await readSingleFile(file);
  } catch (cause) {
    // "… is no model: …" is said of models.
    if (cause instanceof ConesError && cause.code === 'CONES_MODEL_NOT_FOUND') {
      throw new ConesError('CONES_ADAPTER_INVALID', `${label} is no adapter: give a file of a LoRA, of textual inversion or of Custom Diffusion (safetensors, .pt or .bin).`, { cause });
    }
    throw cause;
  }
}

async function fileSize(file: string): Promise<number> {
  const handle = await open(file, 'r');
  try {
    return (await handle.stat()).size;
  } finally {
    await handle.close();
  }
}

async function hashOf(file: string): Promise<string> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  } catch (cause) {
    throw ioError(`${brief(file)} cannot be read`, cause);
  }
  return `sha256:${hash.digest('hex')}`;
}

const TYPES = ['F32', 'F16', 'BF16'];

function tensorOf(label: string, name: string, { dtype, shape, bytes }: FileTensor, data: Buffer): AdapterTensor {
  if (!TYPES.includes(dtype) && dtype !== 'F64') throw invalid(label, `has ${quoted(name)} in the type ${show(dtype)}: weights are F32, F16, BF16 or F64`);
  if (bytes === 0) throw invalid(label, `has an empty tensor, ${quoted(name)} [${shape.slice(0, 8).join(', ')}]`);
  if (dtype !== 'F64') return { dtype: dtype as AdapterTensor['dtype'], shape, data };
  const narrow = Float32Array.from({ length: bytes / 8 }, (_, i) => data.readDoubleLE(8 * i));
  return { dtype: 'F32', shape, data: new Uint8Array(narrow.buffer) };
}

async function readStored(file: string, label: string, { offset, bytes }: FileTensor): Promise<Buffer> {
  const data = Buffer.allocUnsafe(bytes);
  try {
    const handle = await open(file, 'r');
    try {
      for (let done = 0; done < bytes; ) {
        const { bytesRead } = await handle.read(data, done, bytes - done, offset + done);
        if (bytesRead === 0) throw new Error('it ends early');
        done += bytesRead;
      }
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw ioError(`${label} cannot be read`, cause);
  }
  return data;
}

/** Numbers of a tensor. */
export function numbersOf({ dtype, data }: AdapterTensor): Float32Array {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (dtype === 'F32') return Float32Array.from({ length: data.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
  const half = dtype === 'F16' ? halfToNumber : (bits: number) => bfloatToNumber(bits);
  return Float32Array.from({ length: data.length / 2 }, (_, i) => half(view.getUint16(2 * i, true)));
}

function halfToNumber(bits: number): number {
  const [sign, exponent, fraction] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 0x1f, bits & 0x3ff];
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

const word = new DataView(new ArrayBuffer(4));
function bfloatToNumber(bits: number): number {
  word.setUint32(0, bits << 16);
  return word.getFloat32(0);
}

async function factsOf(file: string, { facts }: SingleFile): Promise<Map<string, unknown>> {
  const found = new Map<string, unknown>(facts);
  const { header } = await weightFileSize(file).catch(() => ({ header: 0 }));
  if (header > 1 && header < MOST_METADATA) for (const entry of await metadataOf(file, header)) found.set(...entry);
  // PEFT keeps what its tensors do not say beside them.
  if (/^adapter_model\.\w+$/.test(path.basename(file))) {
    const config = await readJsonFile(path.join(path.dirname(file), 'adapter_config.json')).catch(() => undefined);
    if (typeof config === 'object' && config !== null) for (const [key, value] of Object.entries(config)) found.set(`peft.${key}`, value);
  }
  return found;
}

/** A safetensors file's own texts; the addon has checked its header. */
async function metadataOf(file: string, header: number): Promise<[string, unknown][]> {
  const handle = await open(file, 'r');
  try {
    const { buffer } = await handle.read(Buffer.alloc(header), 0, header, 8);
    const { __metadata__: metadata } = JSON.parse(buffer.toString('utf8')) as { __metadata__?: object };
    return Object.entries(metadata ?? {});
  } catch {
    return []; // a pickle, which begins otherwise
  } finally {
    await handle.close();
  }
}

/** A tensor's or a layer's name in a message. */
export function quoted(name: string): string {
  return `"${brief(name)}"`;
}

export function invalid(label: string, problem: string): ConesError {
  return new ConesError('CONES_ADAPTER_INVALID', `${label} ${problem}.`);
}
