/** Puts a file in another's place in one step, and tidies up after those who were killed while they did so. */
import { randomUUID } from 'node:crypto';
import { close, fsync, open } from 'node:fs';
import { chmod, chown, lstat, opendir, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';

/** Not made of the file's name, which may be as long as the file system allows. */
const temporaryName = () => `.cones-${randomUUID()}.tmp`;
const TEMPORARY = /^\.cones-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.tmp$/;
/** Writing takes seconds; whoever began an hour ago was killed. */
const ABANDONED_MS = 3_600_000;
/** So that saving does not take long in a folder of a million files. */
const MOST_ENTRIES = 10_000;

/**
 * Writes `bytes` to a temporary file beside `target`, flushes it, and renames it over what is there: a link itself, not what it
 * leads to. Mode and owner of a file that is replaced stay.
 */
export async function replaceFile(target: string, bytes: Uint8Array): Promise<void> {
  const folder = path.dirname(target);
  const temporary = path.join(folder, temporaryName());
  try {
    const old = await lstat(target).catch(() => undefined);
    const replaced = old?.isFile() ? old : undefined;
    const mode = replaced && replaced.mode & 0o777;
    // Not through a FileHandle, whose sync() Yarn's Plug'n'Play lacks.
    await writeFile(temporary, bytes, { flag: 'wx', flush: true, ...(mode === undefined ? {} : { mode: mode & 0o700 }) });
    if (replaced) {
      // Only root may give files away; anybody else's new file is their own, as always.
      await chown(temporary, replaced.uid, replaced.gid).catch(() => undefined);
      await chmod(temporary, replaced.mode & 0o777);
    }
    await rename(temporary, target);
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw cause;
  }
  await syncFolder(folder);
  await removeAbandoned(folder);
}

/** So that the new name outlives a power cut, too. Not all systems can; the file is whole in any case. */
async function syncFolder(folder: string): Promise<void> {
  await new Promise<void>((resolve) => {
    open(folder, 'r', (error, descriptor) => {
      if (error) resolve();
      else fsync(descriptor, () => close(descriptor, () => resolve()));
    });
    // With `node --permission` it throws at once where the folder may not be read.
  }).catch(() => undefined);
}

/** Removes temporary files of processes that were killed. Nothing else is touched, and what cannot be removed stays. */
export async function removeAbandoned(folder: string): Promise<void> {
  try {
    let seen = 0;
    for await (const { name } of await opendir(folder)) {
      if (++seen > MOST_ENTRIES) break;
      if (!TEMPORARY.test(name)) continue;
      const file = path.join(folder, name);
      const status = await lstat(file);
      if (status.isFile() && Date.now() - status.mtimeMs > ABANDONED_MS) await rm(file, { force: true });
    }
  } catch {
    // Somebody else tidies up, too, or may where this process may not.
  }
}
