/** Downloads what is needed of a model into the shared cache. */
import path from 'node:path';
import { followSignal } from '../../engine/follow-signal';
import { AbortError, ConesError } from '../../errors';
import { readJson } from '../read-json';
import { fetchBlob, type Source } from './blob';
import { RepositoryCache } from './cache';
import type { ModelLicense } from './card';
import { checkLoads } from './check-loads';
import { chooseFiles, INDEX } from './choose-files';
import { HubConnection } from './connection';
import { type HubFile, readListing } from './listing';
import type { HubName } from './name';
import { type DownloadProgress, ProgressTeller } from './progress';
import type { Wait } from './retry';
import { type HubSettings, hubToken } from './settings';
import { assertSpace } from './space';

export interface PullOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: DownloadProgress) => void) | undefined;
  /** For tests, which do not wait. */
  readonly wait?: Wait;
}

export interface PulledModel {
  /** `organisation/model` */
  readonly model: string;
  /** The commit that the revision names now. */
  readonly commit: string;
  /** In diffusers layout: what `Engine.load` and other libraries load. */
  readonly folder: string;
  readonly license: ModelLicense;
  /** Of its files that are needed, whether they were there before or not. */
  readonly files: readonly { readonly path: string; readonly size: number }[];
}

const AT_ONCE = 4;

/** @throws ConesError CONES_DOWNLOAD_FAILED, CONES_MODEL_GATED, CONES_MODEL_NOT_FOUND, CONES_CONFIG_UNSUPPORTED, CONES_IO, CONES_ABORTED */
export async function pull(name: HubName, settings: HubSettings, options: PullOptions = {}): Promise<PulledModel> {
  const { signal, wait } = options;
  const aborting = new AbortController();
  const abort = () => aborting.abort(new AbortError());
  const unfollow = signal === undefined ? () => undefined : followSignal(signal, abort);
  try {
    if (signal?.aborted) abort();
    await using connection = new HubConnection(settings, await hubToken(), aborting.signal);
    const retry = { signal: aborting.signal, wait };
    aborting.signal.throwIfAborted();
    const { commit, files, license } = await readListing(connection, name, retry);
    const cache = new RepositoryCache(settings.cache, name.id);
    const download = new Download({ connection, name, commit, cache, retry }, aborting, new ProgressTeller({ model: name.id, license }, options.onProgress));
    const folder = cache.snapshot(commit);
    await cache.makeFolder(folder);

    const fileOf = (file: string) => files.get(file)!;
    if (files.has(INDEX)) await download.all([fileOf(INDEX)]);
    const index = files.has(INDEX) ? await readJson(path.join(folder, INDEX)) : undefined;
    const { configs, weights } = chooseFiles(name.id, new Set(files.keys()), index);
    const needed = [...configs, ...weights].map(fileOf);
    await assertSpace(cache, needed);
    await download.all(configs.map(fileOf));
    await checkLoads(folder, index === undefined);
    await download.all(weights.map(fileOf));
    // Last, so that the branch names a whole snapshot at any time.
    await cache.rememberCommit(name.revision, commit);
    return { model: name.id, commit, folder, license, files: needed.map(({ path, size }) => ({ path, size })) };
  } finally {
    unfollow();
  }
}

class Download {
  readonly #source: Source;
  readonly #aborting: AbortController;
  readonly #progress: ProgressTeller;

  constructor(source: Source, aborting: AbortController, progress: ProgressTeller) {
    this.#source = source;
    this.#aborting = aborting;
    this.#progress = progress;
  }

  /** Some at a time; the first that fails ends the others, which keep what they have. */
  async all(files: readonly HubFile[]): Promise<void> {
    this.#progress.expect(files);
    const waiting = [...files];
    let failure: { readonly error: unknown } | undefined;
    const work = async () => {
      for (let file = waiting.shift(); file !== undefined && failure === undefined; file = waiting.shift()) {
        try {
          await this.#one(file);
        } catch (error) {
          failure ??= { error };
          this.#aborting.abort(error);
        }
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    if (failure !== undefined) throw failure.error;
  }

  async #one(file: HubFile): Promise<void> {
    const { cache, commit } = this.#source;
    const isThere = await cache.has(path.join(cache.snapshot(commit), ...file.path.split('/')), file.size);
    if (!isThere) {
      await fetchBlob(this.#source, file, (bytes) => this.#progress.update(file.path, bytes));
      await cache.link(commit, file);
    }
    this.#progress.update(file.path, file.size);
  }
}

/** Names what the cache lacks for want of a network. */
export function notCached(name: HubName, settings: HubSettings, cause: unknown): ConesError {
  return new ConesError('CONES_MODEL_NOT_FOUND', `${name.id} at ${name.revision} is not, or not whole, in ${settings.cache}, and HF_HUB_OFFLINE forbids to download it: run \`cones pull ${name.id}\` without it once.`, { cause });
}
