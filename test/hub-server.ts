// A small hub: what huggingface.co and its CDN answer, on two ports of this machine, and every way in which a network can fail.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';

export interface Repository {
  readonly id: string;
  /** 40 hexadecimal digits. */
  readonly commit: string;
  readonly files: ReadonlyMap<string, Buffer>;
  /** The model card's header. */
  readonly card?: object;
  /** Only who has this token gets files. */
  readonly token?: string;
  readonly gated?: boolean;
  /** Changes the answer about the model. */
  readonly edit?: (info: Info) => unknown;
}

export interface Info {
  id: string;
  sha: string;
  cardData: object;
  siblings: { rfilename: string; size?: number; blobId?: string; lfs?: { sha256: string; size: number; pointerSize: number } }[];
}

export interface SeenRequest {
  readonly host: 'hub' | 'cdn';
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
}

/** Answers in the server's place, or before it (`next`). */
export type Fault = (response: ServerResponse, next: () => void, request: IncomingMessage) => void;

/** What begins so is large: in LFS, and so on the CDN. */
const isLarge = (name: string) => name.endsWith('.safetensors') || name.endsWith('.bin');

export const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
export const gitSha1 = (bytes: Buffer): string => createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
/** The name of a file among the cache's blobs. */
export const blobName = (name: string, bytes: Buffer): string => (isLarge(name) ? sha256(bytes) : gitSha1(bytes));

/** The files of a folder, with slashes. */
export function filesOf(folder: string): Map<string, Buffer> {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(names.map((entry) => {
    const file = path.join(entry.parentPath, entry.name);
    return [path.relative(folder, file).split(path.sep).join('/'), readFileSync(file)];
  }));
}

export class TestHub {
  readonly requests: SeenRequest[] = [];
  readonly #repositories = new Map<string, Repository>();
  readonly #faults: { readonly pattern: RegExp; readonly fault: Fault; left: number }[] = [];
  readonly #hub: Server = createServer((request, response) => this.#answer('hub', request, response));
  readonly #cdn: Server = createServer((request, response) => this.#answer('cdn', request, response));

  static async start(): Promise<TestHub> {
    const hub = new TestHub();
    for (const server of [hub.#hub, hub.#cdn]) await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return hub;
  }

  get endpoint(): string {
    return addressOf(this.#hub);
  }

  get cdn(): string {
    return addressOf(this.#cdn);
  }

  add(repository: Repository): void {
    this.#repositories.set(repository.id, repository);
  }

  /** The next `times` requests whose host and address match get this instead: `hub /api/models/…`, `cdn /…`. */
  misbehave(pattern: RegExp, fault: Fault, times = 1): void {
    this.#faults.push({ pattern, fault, left: times });
  }

  reset(): void {
    this.requests.length = 0;
    this.#faults.length = 0;
    this.#repositories.clear();
  }

  /** Addresses that were asked for, without what follows `?`. */
  paths(): string[] {
    return this.requests.map(({ host, url }) => `${host} ${url.split('?')[0]}`);
  }

  async stop(): Promise<void> {
    for (const server of [this.#hub, this.#cdn]) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  #answer(host: 'hub' | 'cdn', request: IncomingMessage, response: ServerResponse): void {
    const { method = 'GET', url = '/', headers } = request;
    this.requests.push({ host, method, url, headers });
    response.on('error', () => undefined);
    const fault = this.#faults.find(({ pattern, left }) => left > 0 && pattern.test(`${host} ${url}`));
    const next = () => (host === 'hub' ? this.#hubAnswer(request, response) : this.#cdnAnswer(request, response));
    if (fault === undefined) return next();
    fault.left--;
    fault.fault(response, next, request);
  }

  #hubAnswer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url!, this.endpoint);
    const api = /^\/api\/models\/([^/]+\/[^/]+)\/(revision|tree)\/([^/]+)$/.exec(url.pathname);
    const resolve = /^\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(url.pathname);
    const [id, revision] = api ? [api[1]!, api[3]!] : resolve ? [resolve[1]!, resolve[2]!] : ['', ''];
    const repository = this.#repositories.get(id);
    if (repository === undefined) return refuse(response, 401, 'RepoNotFound', 'Invalid username or password.');
    if (!['main', repository.commit, 'refs%2Fpr%2F1'].includes(revision)) return refuse(response, 404, 'RevisionNotFound', `Invalid rev id: ${revision}`);
    response.setHeader('x-repo-commit', repository.commit);
    if (api) return api[2] === 'tree' ? this.#tree(repository, url, response) : json(response, (repository.edit ?? ((info) => info))(infoOf(repository)));
    if (repository.token !== undefined && request.headers.authorization !== `Bearer ${repository.token}`) {
      return repository.gated ? refuse(response, 403, 'GatedRepo', `Access to model ${id} is restricted.`) : refuse(response, 401, undefined, 'Invalid credentials.');
    }
    const name = decodeURIComponent(resolve![3]!);
    const bytes = repository.files.get(name);
    if (bytes === undefined) return refuse(response, 404, 'EntryNotFound', 'Entry not found');
    if (!isLarge(name)) return send(request, response, bytes, gitSha1(bytes));
    const hash = sha256(bytes);
    response.writeHead(302, { location: `${this.cdn}/${hash}?signature=secret`, 'x-linked-etag': `"${hash}"`, 'x-linked-size': bytes.length });
    response.end();
  }

  /** Pages of two entries, as Python's library lists a repository. */
  #tree(repository: Repository, url: URL, response: ServerResponse): void {
    const entries = [...repository.files].map(([name, bytes]) => ({
      type: 'file', path: name, size: bytes.length, oid: gitSha1(bytes), ...(isLarge(name) ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 130 } } : {}),
    }));
    const from = Number(url.searchParams.get('cursor') ?? 0);
    if (from + 2 < entries.length) {
      url.searchParams.set('cursor', String(from + 2));
      response.setHeader('link', `<${url.href}>; rel="next"`);
    }
    json(response, entries.slice(from, from + 2));
  }

  #cdnAnswer(request: IncomingMessage, response: ServerResponse): void {
    const hash = /^\/([0-9a-f]{64})\?/.exec(request.url!)?.[1];
    const bytes = [...this.#repositories.values()].flatMap(({ files }) => [...files.values()]).find((content) => sha256(content) === hash);
    // As S3 does with two kinds of credentials.
    if (bytes === undefined || request.headers.authorization !== undefined) return refuse(response, 400, undefined, 'Bad request');
    send(request, response, bytes, hash!);
  }
}

function addressOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function infoOf({ id, commit, files, card = {} }: Repository): Info {
  const siblings = [...files].map(([rfilename, bytes]) => ({
    rfilename, size: bytes.length, blobId: gitSha1(bytes), ...(isLarge(rfilename) ? { lfs: { sha256: sha256(bytes), size: bytes.length, pointerSize: 130 } } : {}),
  }));
  return { id, sha: commit, cardData: card, siblings };
}

function json(response: ServerResponse, value: unknown): void {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}

function refuse(response: ServerResponse, status: number, code: string | undefined, message: string): void {
  response.writeHead(status, { ...(code === undefined ? {} : { 'x-error-code': code }), 'x-error-message': message });
  response.end(JSON.stringify({ error: message }));
}

function send(request: IncomingMessage, response: ServerResponse, bytes: Buffer, etag: string): void {
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
  const headers = { etag: `"${etag}"`, 'accept-ranges': 'bytes', 'content-length': bytes.length - from };
  if (from > 0) response.writeHead(206, { ...headers, 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` });
  else response.writeHead(200, headers);
  response.end(request.method === 'HEAD' ? undefined : bytes.subarray(from));
}

/** Answers a status without more. */
export const status = (code: number, headers: Record<string, string> = {}): Fault => (response) => void response.writeHead(code, headers).end();

/** Sends so many bytes of what it should, then cuts the connection. */
export const cut = (bytes: number): Fault => (response, next) => {
  const end = response.end.bind(response);
  response.end = ((content?: Buffer) => {
    if (content === undefined) return end();
    response.write(content.subarray(0, bytes), () => setTimeout(() => response.destroy(), 20));
    return response;
  }) as typeof response.end;
  next();
};

/** Changes what it sends, but not what it says of it. */
export const changed = (change: (content: Buffer) => Buffer): Fault => (response, next) => {
  const end = response.end.bind(response);
  response.end = ((content?: Buffer) => (content === undefined ? end() : end(change(Buffer.from(content))))) as typeof response.end;
  next();
};

/** Says nothing any more. */
export const silence: Fault = () => undefined;
