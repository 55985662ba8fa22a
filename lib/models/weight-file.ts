import { ConesError } from '../errors';
import { readBeginning } from '../util/files';
import { BEGINNING, mistakenFor } from './mistaken-file';
import { brief } from '../util/show';

/** A safetensors file begins with the length of its JSON header, 64 bits little-endian. */
const LENGTH_BYTES = 8;

export interface WeightFileSize {
  /** Of the whole file, in bytes. */
  readonly size: number;
  /** Of its header. */
  readonly header: number;
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
