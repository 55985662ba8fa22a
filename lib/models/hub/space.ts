/** Whether a download fits on the disk, before it begins. */
import { stat, statfs } from 'node:fs/promises';
import { ConesError } from '../../errors';
import { brief } from '../../util/show';
import type { RepositoryCache } from './cache';
import type { HubFile } from './listing';

/** Room for what else is written meanwhile. */
const RESERVE = 2 ** 26;

/** @throws ConesError CONES_IO */
export async function assertSpace(cache: RepositoryCache, files: readonly HubFile[]): Promise<void> {
  let needed = 0;
  for (const { hash, size } of files) {
    if (await cache.has(cache.blob(hash), size)) continue;
    const partial = await stat(cache.partial(hash)).catch(() => undefined);
    needed += size - Math.min(size, partial?.size ?? 0);
  }
  if (needed === 0) return;
  // Some file systems do not tell: the download then does.
  const disk = await statfs(cache.folder).catch(() => undefined);
  const free = disk === undefined || disk.blocks === 0 ? Infinity : disk.bavail * disk.bsize;
  if (needed + RESERVE <= free) return;
  throw new ConesError('CONES_IO', `The download needs ${gib(needed)} GiB, and ${brief(cache.root)} has ${gib(free)} GiB left. Make room, or set HF_HUB_CACHE to a folder of another disk.`);
}

function gib(bytes: number): string {
  return (bytes / 2 ** 30).toFixed(bytes < 2 ** 30 ? 3 : 1);
}
