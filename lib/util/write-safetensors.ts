/** Writes tensors as safetensors, a piece at a time: a whole UNet has gigabytes. */
import { randomUUID } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { ioError, targetOf } from './files';
import { brief } from './show';

export interface FloatTensor {
  readonly shape: readonly number[];
  /** Row-major. */
  readonly values: Float32Array;
}

const PIECE = 2 ** 22;

/**
 * Writes fp32 tensors by name, in the order of their names; the file is whole or not there.
 * @throws ConesError CONES_IO
 */
export async function writeSafetensors(file: string, tensors: ReadonlyMap<string, FloatTensor>): Promise<void> {
  const target = await targetOf(file);
  const sorted = [...tensors].sort(([a], [b]) => (a < b ? -1 : 1));
  const partial = path.join(path.dirname(target), `.cones-${randomUUID()}.tmp`);
  try {
    const out = await open(partial, 'wx');
    try {
      await out.writeFile(headerOf(sorted));
      for (const [, { values }] of sorted) {
        const bytes = littleEndian(values);
        for (let begin = 0; begin < bytes.length; begin += PIECE) await out.writeFile(bytes.subarray(begin, begin + PIECE));
      }
      await out.sync();
    } finally {
      await out.close();
    }
    await rename(partial, target);
  } catch (cause) {
    await rm(partial, { force: true }).catch(() => undefined);
    throw ioError(`${brief(file)} cannot be written`, cause);
  }
}

/** Length and JSON header; the numbers begin at a multiple of eight, as safetensors writes them. */
function headerOf(tensors: readonly (readonly [string, FloatTensor])[]): Buffer {
  let end = 0;
  const header: Record<string, object> = { __metadata__: { format: 'pt' } };
  for (const [name, { shape, values }] of tensors) header[name] = { dtype: 'F32', shape, data_offsets: [end, (end += values.byteLength)] };
  const text = Buffer.from(JSON.stringify(header));
  const padded = Buffer.concat([text, Buffer.alloc((8 - (text.length % 8)) % 8, ' ')]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([length, padded]);
}

/** The machines that the addon runs on are little-endian. */
function littleEndian(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
