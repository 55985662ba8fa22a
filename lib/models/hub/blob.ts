/** Downloads one file into the cache's blobs, or waits for whoever does. */
import path from 'node:path';
import { ConesError } from '../../errors';
import { brief } from '../../util/show';
import type { RepositoryCache } from './cache';
import type { HubConnection, HubResponse } from './connection';
import type { HubFile } from './listing';
import { Lock, LockLost } from './lock';
import type { HubName } from './name';
import { PartialFile } from './partial-file';
import { refusal } from './refusal';
import { Interrupted, type RetryOptions, retrying } from './retry';

export interface Source {
  readonly connection: HubConnection;
  readonly name: HubName;
  readonly commit: string;
  readonly cache: RepositoryCache;
  readonly retry: Omit<RetryOptions, 'progress'>;
}

/**
 * @param onLength how much of it is there; less than before where it begins anew
 * @throws ConesError CONES_DOWNLOAD_FAILED, CONES_MODEL_GATED, CONES_MODEL_NOT_FOUND, CONES_IO, CONES_ABORTED
 */
export async function fetchBlob(source: Source, file: HubFile, onLength: (bytes: number) => void): Promise<void> {
  const { cache, retry } = source;
  const blob = cache.blob(file.hash);
  await Promise.all([blob, cache.lock(file.hash)].map((name) => cache.makeFolder(path.dirname(name))));
  for (;;) {
    await using lock = await Lock.take(cache.lock(file.hash), retry.signal, () => cache.has(blob, file.size));
    if (lock === undefined) break;
    try {
      await using partial = await PartialFile.open(cache.partial(file.hash), file);
      await fill(source, file, partial, lock, onLength);
      lock.assertHeld();
      await partial.publish(blob);
    } catch (error) {
      // This process was stopped for long: whoever goes on meanwhile is waited for.
      if (!(error instanceof LockLost)) throw error;
    }
  }
  onLength(file.size);
}

async function fill(source: Source, file: HubFile, partial: PartialFile, lock: Lock, onLength: (bytes: number) => void): Promise<void> {
  for (;;) {
    await retrying(() => receive(source, file, partial, lock, onLength), { ...source.retry, progress: () => partial.length });
    if (partial.isRight()) return;
    const again = partial.inherited;
    await partial.restart();
    // What was there may have been damaged; what came now was wrong.
    if (again) continue;
    await partial.remove();
    throw new ConesError('CONES_DOWNLOAD_FAILED', `${brief(file.path)} of ${source.name.id} is not what the hub promises (another hash). Nothing of it was kept: try again, and check HF_ENDPOINT and the proxy.`);
  }
}

/** Receives what is missing. */
async function receive({ connection, name, commit }: Source, file: HubFile, partial: PartialFile, lock: Lock, onLength: (bytes: number) => void): Promise<void> {
  onLength(partial.length);
  if (partial.length === file.size) return;
  const address = `${connection.settings.endpoint}/${name.id}/resolve/${commit}/${file.path.split('/').map(encodeURIComponent).join('/')}`;
  const response = await connection.get(address, partial.length > 0 ? { range: `bytes=${partial.length}-` } : {});
  await begin(connection, name, file, partial, response);
  const { body, url } = response;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      if (chunk.length > file.size - partial.length) throw wrongLength(file, 'sends more');
      lock.assertHeld();
      await partial.append(chunk);
      onLength(partial.length);
    }
  } catch (cause) {
    throw cause instanceof LockLost ? cause : connection.failure(url, cause);
  } finally {
    body.destroy();
  }
  if (partial.length < file.size) throw new Interrupted(`${brief(url.host)} broke off ${brief(file.path)} after ${partial.length} of ${file.size} bytes`);
}

/** Whether the response goes on where the file ends; where it begins anew, so does the file. */
async function begin(connection: HubConnection, name: HubName, file: HubFile, partial: PartialFile, response: HubResponse): Promise<void> {
  const { status, header, body } = response;
  const goesOn = status === 206 && header('content-range') === `bytes ${partial.length}-${file.size - 1}/${file.size}`;
  if (status === 416 || (status === 206 && !goesOn)) {
    body.destroy();
    await partial.restart();
    throw new Interrupted(`${brief(response.url.host)} sends another part of ${brief(file.path)} than it was asked for`);
  }
  if (status !== 200 && status !== 206) throw refusal(connection, name, response, brief(file.path));
  if (status === 200 && partial.length > 0) await partial.restart();
  const length = header('content-length');
  if (length !== undefined && Number(length) !== file.size - partial.length) {
    body.destroy();
    throw wrongLength(file, `has ${brief(length)}`);
  }
}

function wrongLength(file: HubFile, what: string): ConesError {
  return new ConesError('CONES_DOWNLOAD_FAILED', `${brief(file.path)} should have ${file.size} bytes, and the server ${what}. Check HF_ENDPOINT and the proxy, or try again later.`);
}
