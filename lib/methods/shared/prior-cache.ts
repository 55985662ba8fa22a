/**
 * Drawn prior pictures, kept in a folder: a file each of latents and their SHA-256. Whatever is wrong with one, pictures are drawn anew.
 *
 * The folder may be shared, so files are believed only when they are regular ones of the right size, whole and finite, and nothing
 * that somebody put in their place (a link, a pipe) is followed.
 */
import { createHash } from 'node:crypto';
import { lstat, mkdir, readdir, rm, utimes } from 'node:fs/promises';
import path from 'node:path';
import { readRegularFile } from '../../util/files';
import { removeAbandoned, replaceFile } from '../../util/replace-file';

const DIGEST = 32;
const NAME = /^prior-[0-9a-f]{32}\.latents$/;
/** A search at Stable Diffusion's size takes 2 MiB. */
export const MOST_CACHED = 2 ** 28;

/** The latents under a key, `length` numbers; undefined where there are none that can be used. */
export async function readCached(folder: string, key: string, length: number): Promise<Float32Array | undefined> {
  const file = fileOf(folder, key);
  const size = 4 * length + DIGEST;
  const bytes = await readRegularFile(file, { most: size, followLinks: false }).catch(() => undefined);
  if (bytes?.length !== size) return undefined;
  const body = bytes.subarray(0, 4 * length);
  if (!sha256(body).equals(bytes.subarray(4 * length))) return undefined;
  const latents = Float32Array.from({ length }, (_, i) => body.readFloatLE(4 * i));
  if (!latents.every(Number.isFinite)) return undefined;
  // Those that are used stay longest.
  const now = new Date();
  await utimes(file, now, now).catch(() => undefined);
  return latents;
}

/** A cache that cannot be written only costs time the next time. */
export async function writeCached(folder: string, key: string, latents: Float32Array, most = MOST_CACHED): Promise<void> {
  const body = Buffer.alloc(4 * latents.length);
  latents.forEach((value, i) => body.writeFloatLE(value, 4 * i));
  try {
    // Nobody else's business: pictures tell what somebody works on.
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await shrink(folder, most - body.length - DIGEST);
    await replaceFile(fileOf(folder, key), Buffer.concat([body, sha256(body)]));
  } catch {
    // No cache.
  }
}

/** Removes the files that were not used for longest, until the others have `most` bytes at most. Files of other names are not touched. */
async function shrink(folder: string, most: number): Promise<void> {
  await removeAbandoned(folder);
  const names = (await readdir(folder)).filter((name) => NAME.test(name));
  const files = [];
  for (const name of names) files.push({ file: path.join(folder, name), ...(await usedAndSize(path.join(folder, name))) });
  files.sort((a, b) => b.used - a.used);
  let kept = 0;
  for (const { file, size } of files) {
    kept += size;
    if (kept > most) await rm(file, { force: true });
  }
}

/** Of the link itself where it is one. One that went meanwhile is nothing. */
async function usedAndSize(file: string): Promise<{ used: number; size: number }> {
  const found = await lstat(file).catch(() => undefined);
  return { used: found?.mtimeMs ?? 0, size: found?.size ?? 0 };
}

function fileOf(folder: string, key: string): string {
  return path.join(folder, `prior-${key}.latents`);
}

function sha256(data: Uint8Array): Buffer {
  return createHash('sha256').update(data).digest();
}
