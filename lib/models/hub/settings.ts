/** Where the hub and its cache are: the environment variables of Python's huggingface_hub, with its defaults. */
import os from 'node:os';
import path from 'node:path';
import { ConesError } from '../../errors';
import { readRegularFile } from '../../util/files';
import { show } from '../../util/show';

export interface HubSettings {
  /** Without a slash at its end. */
  readonly endpoint: string;
  /** Folder of `models--…`. */
  readonly cache: string;
  readonly offline: boolean;
  /** Silence after which a connection is given up. */
  readonly timeoutMs: number;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** @throws ConesError CONES_OPTION_INVALID for an HF_ENDPOINT that is no address */
export function hubSettings(env: Environment = process.env): HubSettings {
  const seconds = Number(env['HF_HUB_DOWNLOAD_TIMEOUT']);
  return {
    endpoint: endpointOf(env['HF_ENDPOINT'] || 'https://huggingface.co'),
    cache: path.resolve(expand(env['HF_HUB_CACHE'] || env['HUGGINGFACE_HUB_CACHE'] || path.join(home(env), 'hub'), env)),
    offline: isTrue(env['HF_HUB_OFFLINE'] || env['TRANSFORMERS_OFFLINE']),
    timeoutMs: 1000 * (seconds > 0 && seconds < 1e6 ? seconds : 10),
  };
}

/**
 * The token of HF_TOKEN, or else of the file that `hf auth login` writes.
 * @throws ConesError CONES_OPTION_INVALID for what no header may hold; the message does not quote it
 */
export async function hubToken(env: Environment = process.env): Promise<string | undefined> {
  const given = env['HF_TOKEN'] || env['HUGGING_FACE_HUB_TOKEN'];
  if (!given?.trim() && isTrue(env['HF_HUB_DISABLE_IMPLICIT_TOKEN'])) return undefined;
  const token = (given?.trim() || (await readToken(expand(env['HF_TOKEN_PATH'] || path.join(home(env), 'token'), env)))).trim();
  if (token === '') return undefined;
  if (!/^[\x21-\x7e]{1,1000}$/.test(token)) throw new ConesError('CONES_OPTION_INVALID', 'The token of HF_TOKEN, or of the token file, has characters that no token has. Log in again (hf auth login).');
  return token;
}

/** No file is no token; neither is what cannot be read. */
async function readToken(file: string): Promise<string> {
  return readRegularFile(file, { most: 2 ** 16 }).then(
    (bytes) => bytes.toString('utf8'),
    () => '',
  );
}

function home(env: Environment): string {
  return expand(env['HF_HOME'] || path.join(env['XDG_CACHE_HOME'] || path.join(os.homedir(), '.cache'), 'huggingface'), env);
}

/** `~` and `$NAME`, as Python's expanduser and expandvars. */
function expand(file: string, env: Environment): string {
  const own = file === '~' || file.startsWith('~/') ? os.homedir() + file.slice(1) : file;
  return own.replace(/\$(?:(\w+)|\{(\w+)\})/g, (all, plain?: string, braced?: string) => env[plain ?? braced ?? ''] ?? all);
}

function isTrue(value: string | undefined): boolean {
  return ['1', 'ON', 'YES', 'TRUE'].includes(value?.toUpperCase() ?? '');
}

function endpointOf(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol) || url.username !== '' || url.search !== '' || url.hash !== '') {
    throw new ConesError('CONES_OPTION_INVALID', `HF_ENDPOINT is ${show(text)}: it must be the address of a hub, such as https://huggingface.co.`);
  }
  let address = url.href;
  while (address.endsWith('/')) address = address.slice(0, -1);
  return address;
}
