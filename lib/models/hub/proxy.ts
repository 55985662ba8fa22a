/** Which proxy a request takes: HTTPS_PROXY, HTTP_PROXY and NO_PROXY in either case, as curl and Python read them. */
import { ConesError } from '../../errors';

type Environment = Readonly<Record<string, string | undefined>>;

/** @throws ConesError CONES_OPTION_INVALID for what is no proxy's address; it may hold a password, so it is not quoted */
export function proxyFor(url: URL, env: Environment = process.env): string | undefined {
  const read = (name: string) => env[name.toLowerCase()] || env[name.toUpperCase()];
  const name = url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY';
  const proxy = read(name) || read('ALL_PROXY');
  if (proxy === undefined || isExcepted(url, read('NO_PROXY') ?? '')) return undefined;
  const address = proxy.includes('://') ? proxy : `http://${proxy}`;
  if (!URL.canParse(address) || !['http:', 'https:'].includes(new URL(address).protocol)) {
    throw new ConesError('CONES_OPTION_INVALID', `${name} (or ALL_PROXY) must be the address of an HTTP proxy, such as http://proxy.example:3128.`);
  }
  return address;
}

/** `localhost,.example.org,10.0.0.1:8080,*`: a host with all below it, perhaps with a port. */
function isExcepted(url: URL, list: string): boolean {
  const host = url.hostname.toLowerCase();
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  return list.split(/[\s,]+/).some((entry) => {
    if (entry === '') return false;
    if (entry === '*') return true;
    const [, name = entry, only] = /^([^:]+):(\d+)$/.exec(entry) ?? [];
    const domain = name.toLowerCase().replace(/^\*?\./, '');
    return (only === undefined || only === port) && (host === domain || host.endsWith(`.${domain}`));
  });
}
