/** Requests to the hub: through the proxy, with the token for the hub alone, redirects followed by hand. */
import type { Dispatcher } from 'undici';
import type * as Undici from 'undici';
import { AbortError, ConesError } from '../../errors';
import { brief, reason } from '../../util/show';
import { version } from '../../version';
import { proxyFor } from './proxy';
import { Interrupted } from './retry';
import type { HubSettings } from './settings';

export interface HubResponse {
  readonly status: number;
  /** The value of a header, by its lower-case name. */
  readonly header: (name: string) => string | undefined;
  /** Has to be read to its end, or destroyed. */
  readonly body: Dispatcher.ResponseData['body'];
  readonly url: URL;
}

const REDIRECTS = [301, 302, 303, 307, 308];
/** A renamed model takes one, a CDN another. */
const MOST_REDIRECTS = 8;

export class HubConnection implements AsyncDisposable {
  readonly settings: HubSettings;
  readonly #token: string | undefined;
  readonly #signal: AbortSignal;
  readonly #origin: string;
  /** By the proxy's address; '' is without one. */
  readonly #dispatchers = new Map<string, Dispatcher>();

  constructor(settings: HubSettings, token: string | undefined, signal: AbortSignal) {
    this.settings = settings;
    this.#token = token;
    this.#signal = signal;
    this.#origin = new URL(settings.endpoint).origin;
  }

  get signal(): AbortSignal {
    return this.#signal;
  }

  get hasToken(): boolean {
    return this.#token !== undefined;
  }

  /**
   * A response of any status but a redirect.
   * @throws Interrupted where another try may help; ConesError CONES_DOWNLOAD_FAILED, CONES_ABORTED
   */
  async get(address: string, headers: Readonly<Record<string, string>> = {}): Promise<HubResponse> {
    let url = new URL(address);
    for (let i = 0; i <= MOST_REDIRECTS; i++) {
      const response = await this.#once(url, headers);
      if (!REDIRECTS.includes(response.status)) return response;
      response.body.destroy();
      url = redirected(url, response.header('location'));
    }
    throw new ConesError('CONES_DOWNLOAD_FAILED', `${brief(address)} leads from one address to the next, more than ${MOST_REDIRECTS} times. Check HF_ENDPOINT.`);
  }

  async #once(url: URL, headers: Readonly<Record<string, string>>): Promise<HubResponse> {
    const { request } = undici();
    const { timeoutMs } = this.settings;
    // Whoever else is asked on the way, such as a CDN, has no business with the token.
    const authorization = this.#token !== undefined && url.origin === this.#origin ? { authorization: `Bearer ${this.#token}` } : {};
    try {
      const { statusCode, headers: received, body } = await request(url, {
        dispatcher: this.#dispatcher(url),
        // Sizes and ranges are of the file as it is, not as compressed.
        headers: { 'user-agent': `cones/${version} node/${process.versions.node}`, 'accept-encoding': 'identity', ...headers, ...authorization },
        headersTimeout: timeoutMs,
        bodyTimeout: timeoutMs,
        signal: this.#signal,
      });
      // An error of a body that nobody reads any more must not end the process.
      body.on('error', () => undefined);
      const header = (name: string) => {
        const value = received[name];
        return Array.isArray(value) ? value[0] : value;
      };
      return { status: statusCode, header, body, url };
    } catch (cause) {
      throw this.failure(url, cause);
    }
  }

  /** What a failed connection means. */
  failure(url: URL, cause: unknown): Error {
    if (this.#signal.aborted) return new AbortError('The download was aborted. Start it again: it goes on where it ended.', { cause });
    if (cause instanceof ConesError || cause instanceof Interrupted) return cause;
    const { cause: inner } = Object(cause) as { cause?: unknown };
    // The whole address may hold a CDN's signature.
    return new Interrupted(`${brief(url.origin)} cannot be reached, or broke off: ${brief(reason(cause) || reason(inner))}`, { cause });
  }

  #dispatcher(url: URL): Dispatcher {
    const proxy = proxyFor(url) ?? '';
    let dispatcher = this.#dispatchers.get(proxy);
    if (dispatcher === undefined) {
      const { Agent, ProxyAgent } = undici();
      const options = { connect: { timeout: this.settings.timeoutMs } };
      dispatcher = proxy === '' ? new Agent(options) : new ProxyAgent({ uri: proxy, ...options });
      this.#dispatchers.set(proxy, dispatcher);
    }
    return dispatcher;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(Array.from(this.#dispatchers.values(), (dispatcher) => dispatcher.destroy()));
  }
}

function redirected(from: URL, location: string | undefined): URL {
  const url = location !== undefined && URL.canParse(location, from.href) ? new URL(location, from.href) : undefined;
  const isSafe = url?.protocol === 'https:' || (url?.protocol === 'http:' && from.protocol === 'http:');
  if (url === undefined || !isSafe) {
    throw new ConesError('CONES_DOWNLOAD_FAILED', `${brief(from.origin)} redirects to ${location === undefined ? 'nowhere' : brief(location)}, which is not followed. Check HF_ENDPOINT.`);
  }
  return url;
}

/** Loaded with the first download: most processes never have one. */
function undici(): typeof Undici {
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- an import() would not be found in Jest's realm
  return require('undici') as typeof Undici;
}
