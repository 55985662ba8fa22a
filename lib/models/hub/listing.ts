/** What the hub says about a model: its commit, its files with their hashes, its licence. One request. */
import { z } from 'zod';
import { ConesError } from '../../errors';
import { jsonDepth } from '../../util/json-text';
import { brief } from '../../util/show';
import { type ModelLicense, readLicense } from './card';
import type { HubConnection } from './connection';
import type { HubName } from './name';
import { refusal } from './refusal';
import { type RetryOptions, retrying } from './retry';

export interface HubFile {
  /** In the repository, with slashes. */
  readonly path: string;
  readonly size: number;
  /** SHA-256 of a large file (LFS), git's SHA-1 of a small one: its name among the cache's blobs. */
  readonly hash: string;
}

export interface Listing {
  readonly commit: string;
  readonly files: ReadonlyMap<string, HubFile>;
  readonly license: ModelLicense;
}

/** Ten thousands of files take less. */
const MOST_BYTES = 2 ** 24;
const MAX_DEPTH = 32;

const size = z.int().min(0);
const file = z.object({
  rfilename: z.string(),
  size: size.optional(),
  blobId: z.string().regex(/^[0-9a-f]{40}$/).optional(),
  lfs: z.object({ sha256: z.string().regex(/^[0-9a-f]{64}$/), size }).nullish(),
});
const model = z.object({
  sha: z.string().regex(/^[0-9a-f]{40}$/),
  siblings: z.array(file).default([]),
  cardData: z.unknown(),
});

/** @throws ConesError CONES_MODEL_GATED, CONES_MODEL_NOT_FOUND, CONES_DOWNLOAD_FAILED, CONES_ABORTED */
export function readListing(connection: HubConnection, name: HubName, retry: Omit<RetryOptions, 'progress'>): Promise<Listing> {
  const { endpoint } = connection.settings;
  return retrying(async () => {
    const response = await connection.get(`${endpoint}/api/models/${name.id}/revision/${encodeURIComponent(name.revision)}?blobs=true`, { accept: 'application/json' });
    if (response.status !== 200) throw refusal(connection, name, response, `The model ${name.id}`);
    return parse(name, endpoint, await readText(connection, response));
  }, retry);
}

async function readText(connection: HubConnection, { body, url }: Awaited<ReturnType<HubConnection['get']>>): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      length += chunk.length;
      // Leaving the loop ends the connection.
      if (length > MOST_BYTES) throw notUnderstood(url.host, `it has more than ${MOST_BYTES} bytes`);
      chunks.push(chunk);
    }
  } catch (cause) {
    throw connection.failure(url, cause);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parse({ id }: HubName, endpoint: string, text: string): Listing {
  const result = model.safeParse(parseJson(text));
  if (!result.success) {
    const issue = result.error.issues[0]!;
    throw notUnderstood(endpoint, `${brief(issue.path.map(String).join('.'))}: ${brief(issue.message)}`);
  }
  const { sha, siblings, cardData } = result.data;
  const files = new Map<string, HubFile>();
  for (const { rfilename, blobId, lfs, size } of siblings) {
    // Nothing that is needed is called so.
    if (!isSafePath(rfilename)) continue;
    const hash = lfs?.sha256 ?? blobId;
    const bytes = lfs?.size ?? size;
    if (hash === undefined || bytes === undefined) throw notUnderstood(endpoint, `${brief(rfilename)} has no size or hash`);
    files.set(rfilename, { path: rfilename, size: bytes, hash });
  }
  return { commit: sha, files, license: readLicense(cardData, `${endpoint}/${id}`) };
}

function parseJson(text: string): unknown {
  if (jsonDepth(text) > MAX_DEPTH) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function notUnderstood(host: string, why: string): ConesError {
  return new ConesError('CONES_DOWNLOAD_FAILED', `${brief(host)} does not answer as a hub does: ${why.replace(/\.$/, '')}. Check HF_ENDPOINT, and the network for a page that wants a login.`);
}

/** A relative path that stays below its folder on every system. */
export function isSafePath(name: string): boolean {
  // eslint-disable-next-line no-control-regex -- they are what is looked for
  return name.length <= 1000 && !/[\\:\u0000-\u001f]/.test(name) && name.split('/').every((part) => !['', '.', '..'].includes(part));
}
