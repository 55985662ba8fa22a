/** A tensor's error and what it may be, as fractions of the largest value of the reference. */
export interface Verdict {
  name: string;
  error: number;
  /** PyTorch's own error in fp32. */
  pytorch: number;
  tolerance: number;
  ok: boolean;
}

interface Stored {
  shape: number[];
  data: Float32Array | Int32Array;
}

/** Tensors of a safetensors file that our own scripts wrote; `data` of those in fp32 and int32. */
export function readSafetensors(file: string): Map<string, Omit<Stored, 'data'> & Partial<Stored>>;

/** A folder of reference tensors: golden.safetensors and errors.json. */
export class Golden {
  constructor(folder: string);
  readonly tensors: ReadonlyMap<string, Stored>;
  data(name: string): Float32Array | Int32Array;
  shape(name: string): number[];
  /**
   * The tolerance rule: the largest error may be 2 × PyTorch's own in fp32, plus 2^-20 of the largest value, which is
   * what a handful of roundings of it add up to.
   */
  judge(name: string, got: ArrayLike<number>): Verdict;
}
