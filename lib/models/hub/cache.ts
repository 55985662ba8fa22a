/**
 * A model's place in the cache that all of the hub's libraries share:
 *   models--org--name/blobs/<hash>                 the bytes, named by their hash
 *   models--org--name/snapshots/<commit>/<path>    links to blobs
 *   models--org--name/refs/<branch>                the commit of a branch or tag
 *   .locks/models--org--name/                      who is downloading what (lock.ts)
 * Links of others are followed to nowhere but the cache.
 */
import { copyFile, link, lstat, mkdir, opendir, readlink, realpath, rename, rm, stat, symlink } from 'node:fs/promises';
import path from 'node:path';
import { randomUUID } from 'node:crypto';
import { ConesError } from '../../errors';
import { ioError, readRegularFile } from '../../util/files';
import { replaceFile } from '../../util/replace-file';
import { brief, reason } from '../../util/show';
import type { HubFile } from './listing';
import { isCommit } from './name';

/** Files and folders of a snapshot; what has more is not looked through. */
const MOST_ENTRIES = 20_000;

export class RepositoryCache {
  readonly root: string;
  readonly folder: string;
  readonly #locks: string;

  constructor(root: string, id: string) {
    const name = ['models', ...id.split('/')].join('--');
    this.root = root;
    this.folder = path.join(root, name);
    this.#locks = path.join(root, '.locks', name);
  }

  blob(hash: string): string {
    return path.join(this.folder, 'blobs', hash);
  }

  /** What there is of a blob; not the name that Python's library uses, which locks in a way that Node.js cannot. */
  partial(hash: string): string {
    return `${this.blob(hash)}.cones.incomplete`;
  }

  lock(hash: string): string {
    return path.join(this.#locks, `${hash}.cones.lock`);
  }

  snapshot(commit: string): string {
    return path.join(this.folder, 'snapshots', commit);
  }

  /** The commit that a branch or tag had when it was last asked for. */
  async commitOf(revision: string): Promise<string | undefined> {
    if (isCommit(revision)) return revision;
    const bytes = await readRegularFile(path.join(this.folder, 'refs', revision), { most: 1000 }).catch(() => undefined);
    const commit = bytes?.toString('latin1').trim() ?? '';
    return isCommit(commit) ? commit : undefined;
  }

  async rememberCommit(revision: string, commit: string): Promise<void> {
    if (isCommit(revision) || (await this.commitOf(revision)) === commit) return;
    const file = path.join(this.folder, 'refs', revision);
    await this.makeFolder(path.dirname(file));
    await this.#changing(file, () => replaceFile(file, Buffer.from(commit)));
  }

  /** Whether the file of a blob or a snapshot is whole, as far as its size tells. */
  async has(file: string, size: number): Promise<boolean> {
    const found = await stat(file).catch(() => undefined);
    return found !== undefined && found.isFile() && found.size === size && (await this.isInside(file));
  }

  /** Paths of a snapshot's files, with slashes. Links that lead nowhere, or out of the cache, are left out. */
  async list(commit: string): Promise<Set<string>> {
    const root = this.snapshot(commit);
    const found = new Set<string>();
    const folders = [''];
    let seen = 0;
    for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
      const entries = await opendir(path.join(root, folder)).catch(() => undefined);
      for await (const entry of entries ?? []) {
        if (++seen > MOST_ENTRIES) return found;
        const name = folder + entry.name;
        if (entry.isDirectory()) folders.push(`${name}/`);
        else if (await this.#isReadable(path.join(root, name))) found.add(name);
      }
    }
    return found;
  }

  async #isReadable(file: string): Promise<boolean> {
    const found = await stat(file).catch(() => undefined);
    return found !== undefined && found.isFile() && (await this.isInside(file));
  }

  /** Puts a blob's link into a snapshot, in one step. */
  async link(commit: string, { path: name, hash, size }: HubFile): Promise<void> {
    const file = path.join(this.snapshot(commit), ...name.split('/'));
    await this.makeFolder(path.dirname(file));
    const target = path.relative(path.dirname(file), this.blob(hash));
    if ((await readlink(file).catch(() => undefined)) === target) return;
    // Where there are no links, Python's library puts the file itself here.
    if ((await lstat(file).catch(() => undefined))?.isFile() && (await this.has(file, size))) return;
    const temporary = path.join(path.dirname(file), `.cones-${randomUUID()}.tmp`);
    await this.#changing(file, async () => {
      try {
        await symlink(target, temporary)
          // Windows asks for a privilege.
          .catch(() => link(this.blob(hash), temporary))
          .catch(() => copyFile(this.blob(hash), temporary));
        await rename(temporary, file);
      } finally {
        await rm(temporary, { force: true });
      }
    });
  }

  /** @throws ConesError CONES_IO for a folder that a link puts elsewhere: nothing is written through it */
  async makeFolder(folder: string): Promise<void> {
    await this.#changing(folder, () => mkdir(folder, { recursive: true }));
    if (!(await this.isInside(folder))) throw new ConesError('CONES_IO', `${brief(folder)} leads out of the cache. Remove that link.`);
  }

  /** Below the cache, or below the model's own folder, which may be a link to another disk. */
  async isInside(file: string): Promise<boolean> {
    const real = await realpath(file).catch(() => undefined);
    const roots = await Promise.all([this.root, this.folder].map((root) => realpath(root).catch(() => root)));
    return real !== undefined && roots.some((root) => real.startsWith(root + path.sep));
  }

  async #changing<T>(file: string, change: () => Promise<T>): Promise<T> {
    try {
      return await change();
    } catch (cause) {
      if (cause instanceof ConesError) throw cause;
      throw ioError(`The cache's ${brief(file)} cannot be written (another place: HF_HUB_CACHE): ${brief(reason(cause))}`, cause);
    }
  }
}
