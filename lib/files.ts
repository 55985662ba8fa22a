import { randomUUID } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import { type FileHandle, open, readlink, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ConesError } from './errors';
import { reason } from './show';

/** @throws ConesError `CONES_IO` */
export function readRegularFile(file: string): Promise<Buffer> {
  return withRegularFile(file, (handle) => handle.readFile());
}

/**
 * At most the first `length` bytes of a file, and its size: to look at what may be gigabytes of something else.
 * @throws ConesError `CONES_IO`
 */
export function readBeginning(file: string, length: number): Promise<{ bytes: Buffer; size: number }> {
  return withRegularFile(file, async (handle) => {
    const { size } = await handle.stat();
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, 0);
    return { bytes: buffer.subarray(0, bytesRead), size };
  });
}

async function withRegularFile<T>(file: string, read: (handle: FileHandle) => Promise<T>): Promise<T> {
  try {
    // A pipe or a device may never end, and merely opening a device may set something off.
    assertRegular(await stat(file));
    // It may be another by now: without O_NONBLOCK (which Windows lacks) opening a pipe would wait for its writer.
    const handle = await open(file, constants.O_RDONLY | ((constants.O_NONBLOCK as number | undefined) ?? 0));
    try {
      assertRegular(await handle.stat());
      return await read(handle);
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw ioError(`${file} cannot be read`, cause);
  }
}

function assertRegular(found: Stats): void {
  if (!found.isFile()) throw new Error(found.isDirectory() ? 'it is a folder' : 'it is not a regular file');
}

/**
 * The JSON value of a file that a user wrote; whether it makes sense is for the caller to check.
 * @param what what the file should be, for the message
 * @throws ConesError `CONES_IO`, `CONES_OPTION_INVALID` when it is no JSON
 */
export async function readJsonFile(file: string, what = 'JSON'): Promise<unknown> {
  const bytes = await readRegularFile(file);
  try {
    return JSON.parse(decodeText(bytes));
  } catch (cause) {
    throw new ConesError('CONES_OPTION_INVALID', `${file} is no ${what}: ${(cause as Error).message}.`, { cause });
  }
}

/** A text as editors write it: UTF-8, or UTF-16 where a byte order mark says so (as PowerShell does); without the mark. Throws for anything else. */
export function decodeText(bytes: Uint8Array): string {
  const [first, second] = bytes;
  const encoding = first === 0xff && second === 0xfe ? 'utf-16le' : first === 0xfe && second === 0xff ? 'utf-16be' : 'utf-8';
  return new TextDecoder(encoding, { fatal: true }).decode(bytes);
}

/**
 * Writes a file so that a crash or a full disk leaves either the old content or the new one: into a
 * temporary file beside it, flushed, then renamed. Links are followed; what is no regular file stays as it is.
 *
 * @throws ConesError `CONES_IO`; the temporary file is then gone
 */
export async function writeFileAtomic(file: string, bytes: Uint8Array): Promise<void> {
  const target = await targetOf(file);
  // Not made of the file's name, which may be as long as the file system allows.
  const temporary = path.join(path.dirname(target), `.cones-${randomUUID()}.tmp`);
  try {
    // Not through a FileHandle, whose sync() Yarn's Plug'n'Play lacks.
    await writeFile(temporary, bytes, { flag: 'wx', flush: true });
    await rename(temporary, target);
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw ioError(`${file} cannot be written`, cause);
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
    throw ioError(`${file === '' ? "''" : file} cannot be written`, cause);
  }
  // Nothing is there, but perhaps a link to it.
  const link = await readlink(file).catch(() => undefined);
  return link === undefined ? file : targetOf(path.resolve(await realpath(path.dirname(file)), link));
}

function unlessMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}

export function ioError(what: string, cause: unknown): ConesError {
  return new ConesError('CONES_IO', `${what}: ${reason(cause).replace(/\.$/, '')}. Check the path and its permissions.`, { cause });
}
