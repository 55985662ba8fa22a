/** What the pickle of a PyTorch checkpoint makes: storages, and tensors that are views of them. */
import { Problem } from './damaged';
import { type Dict, Name, Opaque, Tuple, type Makers } from './pickle';

/** Types of storages, as safetensors calls them, and bytes of an element. */
const STORAGES: Readonly<Record<string, readonly [dtype: string, bytes: number]>> = {
  DoubleStorage: ['F64', 8],
  FloatStorage: ['F32', 4],
  HalfStorage: ['F16', 2],
  BFloat16Storage: ['BF16', 2],
  LongStorage: ['I64', 8],
  IntStorage: ['I32', 4],
  ShortStorage: ['I16', 2],
  CharStorage: ['I8', 1],
  ByteStorage: ['U8', 1],
  BoolStorage: ['BOOL', 1],
};

/** Numbers of one type behind one another, in an entry of the archive or behind the pickle. */
export class Storage {
  constructor(
    readonly key: string,
    readonly dtype: string,
    readonly elementBytes: number,
    /** Elements. */
    readonly length: number,
  ) {}
}

/** A view of a storage whose elements lie together, in order. */
export class Tensor {
  constructor(
    readonly storage: Storage,
    /** Elements of the storage before it. */
    readonly begin: number,
    readonly shape: readonly number[],
    /** False: its elements are spread or in another order. Such a tensor is of no use, and of no harm while nobody wants it. */
    readonly together: boolean,
  ) {}
}

const MOST_DIMENSIONS = 64;
const REBUILD = ['torch._utils._rebuild_tensor', 'torch._utils._rebuild_tensor_v2'];
const PARAMETER = ['torch._utils._rebuild_parameter', 'torch._utils._rebuild_parameter_with_state'];
const CONTAINERS = ['collections.OrderedDict', 'torch.Size'];
const TYPES = ['float16', 'bfloat16', 'float32', 'float64', 'int8', 'int16', 'int32', 'int64', 'uint8', 'bool'];

export class TensorMakers implements Makers {
  readonly names = new Set([
    ...[REBUILD, PARAMETER, CONTAINERS].flat(),
    ...Object.keys(STORAGES).flatMap((name) => [`torch.${name}`, `torch.cuda.${name}`]),
    ...TYPES.map((name) => `torch.${name}`),
    'torch.storage.UntypedStorage',
  ]);
  readonly storages = new Map<string, Storage>();

  /** ('storage', type, key, device, elements), and in old files a view of the storage, which is none. */
  readonly persistent = (id: unknown): Storage => {
    const [kind, type, key, device, length, view = null] = id instanceof Tuple ? id.items : [];
    const [dtype, bytes] = (type instanceof Name ? STORAGES[type.name] : undefined) ?? [];
    if (kind !== 'storage' || dtype === undefined || bytes === undefined || typeof key !== 'string' || typeof device !== 'string' || !isCount(length) || view !== null) {
      throw new Problem('it refers to something outside of its pickle that is no storage of numbers');
    }
    const storage = new Storage(key, dtype, bytes, length);
    const known = this.storages.get(key);
    if (known && (known.dtype !== dtype || known.length !== length)) throw new Problem(`its storage ${JSON.stringify(key.slice(0, 100))} has two lengths or types`);
    this.storages.set(key, known ?? storage);
    return known ?? storage;
  };

  readonly call = ({ full }: Name, items: readonly unknown[]): unknown => {
    if (REBUILD.includes(full)) return rebuild(items);
    if (PARAMETER.includes(full)) return items[0] instanceof Tensor ? items[0] : new Opaque();
    if (full === 'collections.OrderedDict') return orderedDict(items[0]);
    return new Opaque();
  };
}

/** (storage, offset, shape, strides, …) */
function rebuild([storage, begin, size, stride]: readonly unknown[]): Tensor {
  if (!(storage instanceof Storage) || !isCount(begin)) throw new Problem('it has a tensor without a storage');
  const [shape, strides] = [counts(size), counts(stride)];
  if (shape.length !== strides.length) throw new Problem('it has a tensor with more dimensions than strides');
  const length = shape.reduce((product, side) => product * side, 1);
  if (!Number.isSafeInteger(length)) throw new Problem('it has a tensor with more elements than there are');
  const last = length === 0 ? begin - 1 : shape.reduce((at, side, i) => at + (side - 1) * strides[i]!, begin);
  if (!(last < storage.length) || begin > storage.length) throw new Problem('it has a tensor that reaches beyond its storage');
  let step = 1;
  let together = true;
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] !== 1 && strides[i] !== step) together = false;
    step *= shape[i]!;
  }
  return new Tensor(storage, begin, shape, together || length === 0);
}

function counts(value: unknown): readonly number[] {
  const items = value instanceof Tuple ? value.items : value;
  if (!Array.isArray(items) || items.length > MOST_DIMENSIONS || !items.every(isCount)) throw new Problem('it has a tensor whose shape or strides are none');
  return items;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** OrderedDict() as everybody writes it, and OrderedDict([(key, value), …]) of Python 2. */
function orderedDict(pairs: unknown): Dict {
  const dict: Dict = new Map();
  for (const pair of Array.isArray(pairs) ? (pairs as unknown[]) : []) {
    const [key, value] = pair instanceof Tuple ? pair.items : Array.isArray(pair) ? (pair as unknown[]) : [];
    dict.set(key, value);
  }
  return dict;
}
