/**
 * Checkpoints of PyTorch (`.ckpt`, `.bin`, `.pt`, `.pth`): which tensor lies where in the file. Numbers are left where they are.
 *
 * torch.save writes a ZIP archive, with the pickle of everything in `data.pkl` and each storage in an entry `data/<key>`; before
 * PyTorch 1.6 it wrote pickles one behind another: a mark, a version, the machine, everything, the keys of storages; then the
 * storages in the order of the keys, each behind its length.
 */
import { constants } from 'node:fs';
import { open, stat, type FileHandle } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { ConesError } from '../../errors';
import { type Pieces, runInPieces } from '../../util/pieces';
import { fileError } from '../read-json';
import { damaged, Problem } from './damaged';
import { readPickle } from './pickle';
import { type Storage, Tensor, TensorMakers } from './tensors';
import { dataOffset, type ReadAt, readZip, type ZipEntry } from './zip';

/** A tensor where it lies; see NativeTensor. */
export interface CheckpointTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Of its first byte in the file. */
  readonly offset: number;
}

export interface Checkpoint {
  /** By their names in the file. */
  readonly tensors: ReadonlyMap<string, CheckpointTensor>;
  /** Tensors whose elements do not lie together, which nobody can use. */
  readonly scattered: ReadonlySet<string>;
  /** Numbers and texts beside the weights: `global_step`, `epoch`. */
  readonly facts: ReadonlyMap<string, number | string>;
}

/** A checkpoint with an optimiser and averaged weights has a pickle of 1 MB. */
const MOST_PICKLE = 2 ** 25;
/** Dicts in which the weights may lie: {"state_dict": {…}}. */
const DEEPEST = 4;
const EMBEDDING = 'string_to_param';
const LEGACY_MAGIC = 0x1950a86a20f9469cfc6cn;
const LEGACY_VERSION = 1001;

/** @throws ConesError CONES_CHECKPOINT_INVALID, CONES_MODEL_NOT_FOUND, CONES_IO */
export async function readCheckpoint(file: string): Promise<Checkpoint> {
  let handle: FileHandle | undefined;
  try {
    // Merely opening a pipe or a device may wait, or set something off.
    if (!(await stat(file)).isFile()) throw new Problem('it is no regular file');
    handle = await open(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    const { size } = await handle.stat();
    const read: ReadAt = async (offset, length) => {
      if (offset + length > size) throw new Problem('it ends early, as after a download that broke off');
      const { bytesRead, buffer } = await handle!.read(Buffer.alloc(length), 0, length, offset);
      if (bytesRead < length) throw new Problem('it ends early, as after a download that broke off');
      return buffer;
    };
    const beginning = await read(0, Math.min(4, size));
    return await (beginning.toString('latin1') === 'PK\u0003\u0004' ? readArchive(read, size) : readLegacy(read, size));
  } catch (cause) {
    if (cause instanceof ConesError) throw cause;
    if (cause instanceof Problem) throw damaged(file, cause.message, { cause });
    throw fileError(file, cause);
  } finally {
    await handle?.close();
  }
}

async function readArchive(read: ReadAt, size: number): Promise<Checkpoint> {
  const entries = await readZip(read, size);
  const pickles = [...entries.keys()].filter((name) => /^[^/]*\/data\.pkl$/.test(name));
  if (pickles.length !== 1) throw new Problem('it is a ZIP archive without the "data.pkl" of torch.save');
  const folder = pickles[0]!.slice(0, -'data.pkl'.length);
  if (entries.has(`${folder}constants.pkl`)) throw new Problem('it is a program of TorchScript, not a file of weights');
  const order = entries.get(`${folder}byteorder`);
  if (order !== undefined && (order.size !== 6 || (await contents(read, order)).toString('latin1') !== 'little')) throw new Problem('its numbers are big-endian');
  const pickle = await contents(read, entries.get(pickles[0]!)!);
  const makers = new TensorMakers();
  const { value, end } = await runInPieces(readPickle(pickle, makers));
  if (end !== pickle.length) throw new Problem('its pickle has something behind its end');
  const offsets = new Map<Storage, number>();
  for (const storage of makers.storages.values()) {
    const entry = entries.get(`${folder}data/${storage.key}`);
    if (entry === undefined) throw new Problem(`its storage ${JSON.stringify(storage.key.slice(0, 100))} is missing`);
    if (entry.size !== storage.length * storage.elementBytes) throw new Problem(`its storage ${JSON.stringify(storage.key.slice(0, 100))} is not as long as it says`);
    offsets.set(storage, await dataOffset(read, entry));
  }
  return collect(value, offsets);
}

/** A small entry, with its checksum. Those of weights are not looked at: that would take reading gigabytes twice. */
async function contents(read: ReadAt, entry: ZipEntry): Promise<Buffer> {
  if (entry.size > MOST_PICKLE) throw new Problem(`its pickle has ${entry.size} bytes`);
  const bytes = await read(await dataOffset(read, entry), entry.size);
  if (crc32(bytes) !== entry.crc) throw new Problem('the checksum of its pickle is wrong');
  return bytes;
}

async function readLegacy(read: ReadAt, size: number): Promise<Checkpoint> {
  const bytes = await read(0, Math.min(size, MOST_PICKLE));
  const makers = new TensorMakers();
  const { value, keys, end } = await runInPieces(readLegacyPickles(bytes, makers));
  const offsets = new Map<Storage, number>();
  let at = end;
  for (const key of keys) {
    const storage = typeof key === 'string' ? makers.storages.get(key) : undefined;
    if (storage === undefined || offsets.has(storage)) throw new Problem('its list of storages is not that of its tensors');
    if ((await read(at, 8)).readBigUInt64LE() !== BigInt(storage.length)) throw new Problem('a storage is not as long as it says');
    offsets.set(storage, at + 8);
    at += 8 + storage.length * storage.elementBytes;
    if (at > size) throw new Problem('it ends early, as after a download that broke off');
  }
  if (offsets.size !== makers.storages.size) throw new Problem('its list of storages is not that of its tensors');
  return collect(value, offsets);
}

function* readLegacyPickles(bytes: Buffer, makers: TensorMakers): Pieces<{ value: unknown; keys: readonly unknown[]; end: number }> {
  let end = 0;
  const values: unknown[] = [];
  for (let i = 0; i < 5; i++) {
    const read = yield* readPickle(bytes.subarray(end), makers);
    end += read.end;
    values.push(read.value);
    if (i === 0 && read.value !== LEGACY_MAGIC) throw new Problem('it does not begin as one');
  }
  const [, version, machine, value, keys] = values;
  if (version !== LEGACY_VERSION) throw new Problem(`it is of a version that is not ${LEGACY_VERSION}`);
  if (!(machine instanceof Map) || machine.get('little_endian') !== true) throw new Problem('its numbers are big-endian');
  if (!Array.isArray(keys)) throw new Problem('its list of storages is none');
  return { value, keys, end };
}

function collect(root: unknown, offsets: ReadonlyMap<Storage, number>): Checkpoint {
  const facts = new Map<string, number | string>();
  let dict = root;
  for (let depth = 0; dict instanceof Map; depth++) {
    if (depth === DEEPEST) throw new Problem('its "state_dict" holds itself');
    for (const [key, value] of dict) {
      if (typeof key === 'string' && (typeof value === 'number' || typeof value === 'string')) facts.set(key, value);
    }
    if (!dict.has('state_dict')) break;
    dict = dict.get('state_dict');
  }
  if (!(dict instanceof Map)) throw new Problem('it holds no dict of tensors');
  const tensors = new Map<string, CheckpointTensor>();
  const scattered = new Set<string>();
  for (const [name, tensor] of withEmbedding(dict)) {
    if (typeof name !== 'string' || !(tensor instanceof Tensor)) continue;
    const { storage, begin, shape, together } = tensor;
    if (together) tensors.set(name, { dtype: storage.dtype, shape, offset: offsets.get(storage)! + begin * storage.elementBytes });
    else scattered.add(name);
  }
  return { tensors, scattered, facts };
}

/** With the embeddings that stable-diffusion-webui's textual inversion keeps one dict deeper. */
function* withEmbedding(dict: ReadonlyMap<unknown, unknown>): Generator<readonly [name: unknown, value: unknown]> {
  yield* dict;
  const inner = dict.get(EMBEDDING);
  if (inner instanceof Map) for (const [name, value] of inner) if (typeof name === 'string') yield [`${EMBEDDING}.${name}`, value];
}
