import { ConesError } from '../errors';
import { readBeginning } from '../util/files';
import { BEGINNING, mistakenFor } from './mistaken-file';
import { brief } from '../util/show';

/** A safetensors file begins with the length of its JSON header, 64 bits little-endian. */
const LENGTH_BYTES = 8;

const ELEMENT_BYTES: Readonly<Record<string, number>> = { F64: 8, I64: 8, F32: 4, I32: 4, F16: 2, BF16: 2, I16: 2 };

/** Bytes that a tensor has in its file. */
export function tensorBytes({ dtype, shape }: { readonly dtype: string; readonly shape: readonly number[] }): number {
  return shape.reduce((product, side) => product * side, ELEMENT_BYTES[dtype] ?? 1);
}

export interface WeightFileSize {
  /** Of the whole file, in bytes. */
  readonly size: number;
  /** Of its header. */
  readonly header: number;
}

/**
 * Whether a checkpoint of PyTorch is something that is often found in its place.
 * @throws ConesError CONES_CHECKPOINT_INVALID; CONES_IO
 */
export async function assertNotMistaken(file: string): Promise<void> {
  const { bytes } = await readBeginning(file, BEGINNING);
  const instead = bytes.toString('latin1', 0, 4) === 'PK\u0003\u0004' ? undefined : mistakenFor(bytes);
  if (instead !== undefined) throw new ConesError('CONES_CHECKPOINT_INVALID', `${brief(file)} holds no weights: ${instead}`);
}

/**
 * What a safetensors file's beginning tells; whether it tells the truth is for the native core to find out.
 * @throws ConesError CONES_SAFETENSORS_INVALID when it is something else that is often found in its place; CONES_IO
 */
export async function weightFileSize(file: string): Promise<WeightFileSize> {
  const { bytes, size } = await readBeginning(file, BEGINNING);
  const instead = mistakenFor(bytes);
  if (instead !== undefined) throw new ConesError('CONES_SAFETENSORS_INVALID', `${brief(file)} holds no weights: ${instead}`);
  const claimed = bytes.length < LENGTH_BYTES ? 0 : Number(bytes.readBigUInt64LE());
  return { size, header: Math.min(claimed, size) };
}
