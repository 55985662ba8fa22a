// Names on the hub, and what of the environment decides where they lead.
import os from 'node:os';
import path from 'node:path';
import { parseHubName } from '../../lib/models/hub/name';
import { proxyFor } from '../../lib/models/hub/proxy';
import { retryAfter } from '../../lib/models/hub/retry';
import { hubSettings } from '../../lib/models/hub/settings';

test('names', () => {
  expect(parseHubName('hf:org/model')).toEqual({ id: 'org/model', revision: 'main' });
  expect(parseHubName('org/model.v1-5@refs/pr/7')).toEqual({ id: 'org/model.v1-5', revision: 'refs/pr/7' });
  expect(parseHubName('hf:gpt2@v1.0')).toEqual({ id: 'gpt2', revision: 'v1.0' });
});

test.each<[Record<string, string>, string]>([
  [{}, path.join(os.homedir(), '.cache/huggingface/hub')],
  [{ XDG_CACHE_HOME: '/x' }, '/x/huggingface/hub'],
  [{ HF_HOME: '/h', XDG_CACHE_HOME: '/x' }, '/h/hub'],
  [{ HF_HOME: '~/h' }, path.join(os.homedir(), 'h/hub')],
  [{ HF_HOME: '$BASE/h', BASE: '/b' }, '/b/h/hub'],
  [{ HF_HOME: '${NONE}/h' }, path.resolve('${NONE}/h/hub')],
  [{ HUGGINGFACE_HUB_CACHE: '/old', HF_HOME: '/h' }, '/old'],
  [{ HF_HUB_CACHE: '/new', HUGGINGFACE_HUB_CACHE: '/old' }, '/new'],
  [{ HF_HUB_CACHE: '', HF_HOME: '' }, path.join(os.homedir(), '.cache/huggingface/hub')],
])('the cache of %j', (env, cache) => expect(hubSettings(env).cache).toBe(cache));

test('endpoint, offline mode and timeout', () => {
  expect(hubSettings({})).toMatchObject({ endpoint: 'https://huggingface.co', offline: false, timeoutMs: 10_000 });
  expect(hubSettings({ HF_ENDPOINT: 'https://mirror.example/hub//', HF_HUB_OFFLINE: 'true', HF_HUB_DOWNLOAD_TIMEOUT: '2.5' })).toMatchObject({ endpoint: 'https://mirror.example/hub', offline: true, timeoutMs: 2500 });
  expect(hubSettings({ HF_HUB_OFFLINE: '0', HF_HUB_DOWNLOAD_TIMEOUT: 'soon' })).toMatchObject({ offline: false, timeoutMs: 10_000 });
  for (const HF_ENDPOINT of ['mirror', 'ftp://x', 'https://user:pass@x/', 'https://x/?a', 'https://x/#a']) {
    expect(() => hubSettings({ HF_ENDPOINT })).toThrow(expect.objectContaining({ code: 'CONES_OPTION_INVALID' }));
  }
});

test.each<[string, Record<string, string>, string | undefined]>([
  ['https://a.org/x', {}, undefined],
  ['https://a.org/x', { HTTPS_PROXY: 'http://p:1', HTTP_PROXY: 'http://q:1' }, 'http://p:1'],
  ['http://a.org/x', { HTTPS_PROXY: 'http://p:1', http_proxy: 'q:1' }, 'http://q:1'],
  ['https://a.org/x', { ALL_PROXY: 'http://p:1' }, 'http://p:1'],
  ['https://a.org/x', { https_proxy: 'http://p:1', NO_PROXY: 'b.org, .a.org' }, undefined],
  ['https://cdn.a.org/x', { https_proxy: 'http://p:1', NO_PROXY: 'a.org' }, undefined],
  ['https://aa.org/x', { https_proxy: 'http://p:1', NO_PROXY: 'a.org' }, 'http://p:1'],
  ['https://a.org/x', { https_proxy: 'http://p:1', NO_PROXY: 'a.org:80' }, 'http://p:1'],
  ['https://a.org/x', { https_proxy: 'http://p:1', NO_PROXY: 'a.org:443' }, undefined],
  ['https://a.org/x', { https_proxy: 'http://p:1', NO_PROXY: '*' }, undefined],
  ['https://a.org/x', { https_proxy: '', HTTPS_PROXY: '' }, undefined],
])('the proxy of %s with %j', (url, env, proxy) => expect(proxyFor(new URL(url), env)).toBe(proxy));

test('Retry-After', () => {
  const now = Date.UTC(2026, 0, 1);
  expect(['3', 'Thu, 01 Jan 2026 00:01:00 GMT', 'Wed, 31 Dec 2025 00:00:00 GMT', 'soon', undefined].map((header) => retryAfter(header, now))).toEqual([3000, 60_000, 0, undefined, undefined]);
});
