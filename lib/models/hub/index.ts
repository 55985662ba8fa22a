/** Models by name: from the cache where it has them, else from the hub. */
import path from 'node:path';
import { z } from 'zod';
import { ConesError } from '../../errors';
import { functionOption, parseOptions, signalOption } from '../../util/options';
import { folderPath, readJson } from '../read-json';
import { RepositoryCache } from './cache';
import { chooseFiles, INDEX } from './choose-files';
import { type HubName, isHubName, parseHubName } from './name';
import type { DownloadProgress } from './progress';
import { notCached, pull, type PulledModel } from './pull';
import { type HubSettings, hubSettings } from './settings';

export type { ModelLicense } from './card';
export type { DownloadProgress } from './progress';
export type { PulledModel } from './pull';

/** Options of calls that may have to download a model first. */
export interface DownloadOptions {
  /** Called while a model is downloaded (`hf:…`). What it throws ends the download with that error. */
  readonly onDownload?: ((progress: DownloadProgress) => void) | undefined;
  /** Ends a download; a later one goes on where it ended. */
  readonly signal?: AbortSignal | undefined;
}

/** The schema of {@link DownloadOptions}. */
export const downloadOptions = { onDownload: functionOption<(progress: DownloadProgress) => void>(), signal: signalOption };

/** Options of {@link pullModel}. */
export interface PullModelOptions {
  /** Called about ten times a second. What it throws ends the download with that error. */
  readonly onProgress?: (progress: DownloadProgress) => void;
  /** Ends the download; a later one goes on where it ended. */
  readonly signal?: AbortSignal;
}

const pullOptions = z.strictObject({ onProgress: functionOption<(progress: DownloadProgress) => void>(), signal: signalOption });

/**
 * Downloads a model from the Hugging Face hub, as far as it is not there: what `Engine.load` and `Clip.load` read of it, into the cache
 * that Python's libraries use, too. Asks the hub what a branch is now, where `Engine.load('hf:…')` takes what is in the cache.
 *
 * @param name `organisation/model`, with or without `hf:` and `@revision`
 * @throws ConesError CONES_DOWNLOAD_FAILED, CONES_MODEL_GATED, CONES_MODEL_NOT_FOUND, CONES_CONFIG_INVALID, CONES_CONFIG_UNSUPPORTED,
 *   CONES_IO, CONES_OPTION_INVALID, CONES_ABORTED
 */
export async function pullModel(name: string, options: PullModelOptions = {}): Promise<PulledModel> {
  const { onProgress, signal } = parseOptions('pullModel', pullOptions, options);
  const wanted = parseHubName(parseOptions('pullModel', z.string("must be the name of a model, 'organisation/model'"), name));
  const settings = hubSettings();
  if (settings.offline) throw new ConesError('CONES_OPTION_INVALID', 'pullModel: HF_HUB_OFFLINE forbids downloads. Unset it.');
  return pull(wanted, settings, { onProgress, signal });
}

/**
 * The folder of a model: of a name (`hf:…`) its snapshot in the cache, downloaded first where it is not there; of a path itself.
 * @throws ConesError as {@link pullModel}
 */
export async function modelFolder(model: string, { onDownload, signal }: DownloadOptions = {}): Promise<string> {
  if (!isHubName(model)) {
    // What is no path either.
    folderPath(model);
    return model;
  }
  const name = parseHubName(model);
  const settings = hubSettings();
  try {
    return await cachedFolder(name, settings);
  } catch (cause) {
    if (settings.offline) throw notCached(name, settings, cause);
  }
  return (await pull(name, settings, { onProgress: onDownload, signal })).folder;
}

/** @throws ConesError CONES_MODEL_NOT_FOUND unless everything that is needed is there */
async function cachedFolder({ id, revision }: HubName, settings: HubSettings): Promise<string> {
  const cache = new RepositoryCache(settings.cache, id);
  const commit = await cache.commitOf(revision);
  if (commit === undefined) throw new ConesError('CONES_MODEL_NOT_FOUND', `The cache does not know ${id} at ${revision}.`);
  const folder = cache.snapshot(commit);
  const paths = await cache.list(commit);
  chooseFiles(id, paths, paths.has(INDEX) ? await readJson(path.join(folder, INDEX)) : undefined);
  return folder;
}
