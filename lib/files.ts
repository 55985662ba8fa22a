import { randomUUID } from 'node:crypto';
import { open, readFile, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { ConesError } from './errors';
import { reason } from './show';

/** @throws ConesError `CONES_IO` */
export async function readRegularFile(file: string): Promise<Buffer> {
  try {
    // A pipe or a device may never end.
    if (!(await stat(file)).isFile()) throw new Error('it is not a regular file');
    return await readFile(file);
  } catch (cause) {
    throw ioError(`${file} cannot be read`, cause);
  }
}

/**
 * The JSON value of a file that a user wrote; whether it makes sense is for the caller to check.
 * @param what what the file should be, for the message
 * @throws ConesError `CONES_IO`, `CONES_OPTION_INVALID` when it is no JSON
 */
export async function readJsonFile(file: string, what = 'JSON'): Promise<unknown> {
  const bytes = await readRegularFile(file);
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (cause) {
    throw new ConesError('CONES_OPTION_INVALID', `${file} is no ${what}: ${(cause as Error).message}.`, { cause });
  }
}

/**
 * Writes a file so that a crash or a full disk leaves either the old content or the new one: into a
 * temporary file beside it, flushed, then renamed.
 *
 * @throws ConesError `CONES_IO`; the temporary file is then gone
 */
export async function writeFileAtomic(file: string, bytes: Uint8Array): Promise<void> {
  const temporary = path.join(path.dirname(file), `.${path.basename(file)}.${randomUUID()}.tmp`);
  try {
    const handle = await open(temporary, 'wx');
    try {
      await handle.writeFile(bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw ioError(`${file} cannot be written`, cause);
  }
}

export function ioError(what: string, cause: unknown): ConesError {
  return new ConesError('CONES_IO', `${what}: ${reason(cause)}. Check the path and its permissions.`, { cause });
}
