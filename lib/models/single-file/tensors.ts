/** What is in a single file, in whichever format. */
import { ConesError } from '../../errors';
import { fromNative, native } from '../../native';
import { brief } from '../../util/show';
import { readCheckpoint } from '../checkpoint';
import { BEGINNING, mistakenFor } from '../mistaken-file';
import { LAYOUT } from '../read-json';
import { tensorBytes, weightFileSize } from '../weight-file';
import { readBeginning } from '../../util/files';

export interface FileTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Of its first byte in the file. */
  readonly offset: number;
  readonly bytes: number;
}
export type FileTensors = ReadonlyMap<string, FileTensor>;

export interface SingleFile {
  readonly tensors: FileTensors;
  /** Tensors that cannot be read, because their elements do not lie together. */
  readonly scattered: ReadonlySet<string>;
  /** Of the training, where the file says: 875000 for Stable Diffusion 2's base. */
  readonly globalStep: number | undefined;
  /** Numbers and texts beside the tensors of a pickle. */
  readonly facts: ReadonlyMap<string, number | string>;
}

/** Files with averaged weights have headers of 300 KB. */
const MOST_HEADER = 2 ** 24;

/**
 * The format is told from the file's beginning, whatever its name is.
 * @throws ConesError CONES_SAFETENSORS_INVALID, CONES_CHECKPOINT_INVALID, CONES_MODEL_NOT_FOUND, CONES_IO
 */
export async function readSingleFile(file: string): Promise<SingleFile> {
  const { bytes } = await readBeginning(file, BEGINNING);
  if (bytes.toString('latin1', 0, 4) === 'GGUF') {
    throw new ConesError('CONES_CONFIG_UNSUPPORTED', `${brief(file)} is a GGUF file, whose weights are quantised, which the engine does not implement. Take the model as safetensors.`);
  }
  const isPickle = bytes[0] === 0x80 || bytes.toString('latin1', 0, 4) === 'PK\u0003\u0004';
  // A safetensors file's header begins behind its length.
  if (!isPickle && bytes.toString('latin1', 8, 9) !== '{') {
    const instead = mistakenFor(bytes);
    const next = instead ?? `it is neither a folder nor a file of weights (safetensors, or a checkpoint of PyTorch). ${LAYOUT}`;
    throw new ConesError('CONES_MODEL_NOT_FOUND', `${brief(file)} is no model: ${next}`);
  }
  if (!isPickle) {
    const { header } = await weightFileSize(file);
    if (header > MOST_HEADER) throw new ConesError('CONES_SAFETENSORS_INVALID', `${brief(file)} has a header of ${header} bytes, where models have some hundred thousand. Download it again.`);
    const list = await fromNative(() => native().readSafetensors(file));
    const tensors = new Map(list.map(({ name, dtype, shape, offset }) => [name, { dtype, shape, offset, bytes: tensorBytes({ dtype, shape }) }]));
    return { tensors, scattered: new Set(), globalStep: undefined, facts: new Map() };
  }
  const { tensors, scattered, facts } = await readCheckpoint(file);
  const step = facts.get('global_step');
  return {
    tensors: new Map(Array.from(tensors, ([name, tensor]) => [name, { ...tensor, bytes: tensorBytes(tensor) }])),
    scattered,
    globalStep: typeof step === 'number' ? step : undefined,
    facts,
  };
}

/** Those whose names begin with `prefix`, without it. */
export function under(tensors: FileTensors, prefix: string): Map<string, FileTensor> {
  const found = new Map<string, FileTensor>();
  for (const [name, tensor] of tensors) if (name.startsWith(prefix)) found.set(name.slice(prefix.length), tensor);
  return found;
}
