import { constants, type Stats } from 'node:fs';
import { type FileHandle, lstat, open, readlink, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { ConesError } from '../errors';
import { mistakenFor } from '../models/mistaken-file';
import { replaceFile } from './replace-file';
import { brief, reason } from './show';

export interface ReadOptions {
  /** Bytes; a longer file is refused unread. Default: as many as Node.js can hold. */
  readonly most?: number;
  /** False: a link in the file's place is refused. Default true. */
  readonly followLinks?: boolean;
}

/** @throws ConesError `CONES_IO` */
export function readRegularFile(file: string, options: ReadOptions = {}): Promise<Buffer> {
  return withRegularFile(file, options, async (handle, size) => {
    // As long as it was when it was opened, not to its end: a file that something keeps writing to may have none.
    const bytes = Buffer.allocUnsafe(size);
    let length = 0;
    for (let read = -1; read !== 0 && length < size; length += read) {
      read = (await handle.read(bytes, length, size - length, length)).bytesRead;
    }
    return bytes.subarray(0, length);
  });
}

/**
 * At most the first `length` bytes of a file, and its size: to look at what may be gigabytes of something else.
 * @throws ConesError `CONES_IO`
 */
export function readBeginning(file: string, length: number): Promise<{ bytes: Buffer; size: number }> {
  return withRegularFile(file, {}, async (handle, size) => {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, 0);
    return { bytes: buffer.subarray(0, bytesRead), size };
  });
}

// Windows lacks both.
const { O_NONBLOCK = 0, O_NOFOLLOW = 0 } = constants as Partial<typeof constants>;

async function withRegularFile<T>(file: string, { most = Infinity, followLinks = true }: ReadOptions, read: (handle: FileHandle, size: number) => Promise<T>): Promise<T> {
  try {
    // A pipe or a device may never end, and merely opening a device may set something off.
    assertRegular(await (followLinks ? stat : lstat)(file));
    // It may be another by now: without O_NONBLOCK opening a pipe would wait for its writer.
    const handle = await open(file, constants.O_RDONLY | O_NONBLOCK | (followLinks ? 0 : O_NOFOLLOW));
    try {
      const status = await handle.stat();
      assertRegular(status);
      if (status.size > most) throw new TooLong(`it has ${status.size} bytes, where at most ${most} are expected`);
      return await read(handle, status.size);
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw ioError(`${brief(file)} cannot be read`, cause);
  }
}

/** What a file is refused for whose `most` bytes are not enough. */
export class TooLong extends Error {}

function assertRegular(found: Stats): void {
  if (!found.isFile()) throw new Error(found.isDirectory() ? 'it is a folder' : 'it is not a regular file');
}

/** Captions of thousands of pictures take less. */
const MOST_JSON = 2 ** 26;

/**
 * The JSON value of a file that a user wrote; whether it makes sense is for the caller to check.
 * @param what what the file should be, for the message
 * @throws ConesError `CONES_IO`, `CONES_OPTION_INVALID` when it is no JSON
 */
export async function readJsonFile(file: string, what = 'JSON'): Promise<unknown> {
  const bytes = await readRegularFile(file, { most: MOST_JSON });
  try {
    return JSON.parse(decodeText(bytes));
  } catch (cause) {
    const why = mistakenFor(bytes) ?? `${brief(reason(cause))}.`;
    throw new ConesError('CONES_OPTION_INVALID', `${brief(file)} is no ${what}: ${why}`, { cause });
  }
}

/** A text as editors write it: UTF-8, or UTF-16 where a byte order mark says so (as PowerShell does); without the mark. Throws for anything else. */
export function decodeText(bytes: Uint8Array): string {
  const [first, second] = bytes;
  const encoding = first === 0xff && second === 0xfe ? 'utf-16le' : first === 0xfe && second === 0xff ? 'utf-16be' : 'utf-8';
  return new TextDecoder(encoding, { fatal: true }).decode(bytes);
}

/**
 * Writes a file so that a crash or a full disk leaves either the old content or the new one (replace-file.ts). Links are followed;
 * what is no regular file stays as it is.
 *
 * @throws ConesError `CONES_IO`; the temporary file is then gone
 */
export async function writeFileAtomic(file: string, bytes: Uint8Array): Promise<void> {
  const target = await targetOf(file);
  try {
    await replaceFile(target, bytes);
  } catch (cause) {
    throw ioError(`${brief(file)} cannot be written`, cause);
  }
}

/**
 * What is written when `file` is: the end of its symbolic links, a regular file or none yet. Renaming a file over anything else
 * would put it in the place of a link, a device or a pipe.
 *
 * @throws ConesError `CONES_IO` when it is something else, or cannot be the name of a file
 */
export async function targetOf(file: string): Promise<string> {
  try {
    if (file === '') throw new Error('a file has a name');
    if (file.endsWith('/') || file.endsWith(path.sep)) throw new Error('this names a folder');
    const found = await stat(file).catch(unlessMissing);
    if (found !== undefined) {
      assertRegular(found);
      return await realpath(file);
    }
  } catch (cause) {
    throw ioError(`${file === '' ? "''" : brief(file)} cannot be written`, cause);
  }
  // Nothing is there, but perhaps a link to it.
  const link = await readlink(file).catch(() => undefined);
  return link === undefined ? file : targetOf(path.resolve(await realpath(path.dirname(file)), link));
}

function unlessMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}

/** What to do where it is not the path that is wrong. */
const IO_ADVICE: Readonly<Record<string, string>> = {
  ENOSPC: 'Make room on the disk, or choose another.',
  EDQUOT: 'Make room within the disk quota, or choose another disk.',
  EFBIG: 'Raise the limit on the size of files (ulimit -f), or choose another file system.',
  EROFS: 'Choose a place that can be written to.',
  EMFILE: 'Raise the limit on open files (ulimit -n).',
  EIO: 'Check the disk.',
};

export function ioError(what: string, cause: unknown): ConesError {
  const { code = '' } = Object(cause) as { code?: string };
  const advice = Object.hasOwn(IO_ADVICE, code) ? IO_ADVICE[code]! : 'Check the path and its permissions.';
  return new ConesError('CONES_IO', `${what}: ${brief(reason(cause)).replace(/\.$/, '')}. ${advice}`, { cause });
}
