// A hub, and a network, that misbehave in every way that anybody thought of: each has its code, and what was begun is gone on with.
import { createServer } from 'node:http';
import { existsSync, linkSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { pull } from '../../lib/models/hub/pull';
import { Lock, LockLost } from '../../lib/models/hub/lock';
import { changed, cut, type Fault, filesOf, type Info, sha256, silence, status, TestHub } from '../hub-server';
import { MODEL, rejection } from '../runtime/model';

const COMMIT = 'c0'.repeat(20);
const NAME = { id: 'org/tiny', revision: 'main' };
const FILES = filesOf(MODEL);
const UNET = 'unet/diffusion_pytorch_model.safetensors';
const WEIGHTS = FILES.get(UNET)!;
/** The CDN's address of them. */
const OF_UNET = new RegExp(`^cdn /${sha256(WEIGHTS)}`);
const INFO = /^hub \/api/;

let hub: TestHub;
let folder: string;
let cache: string;
/** What was waited, in milliseconds; no test waits. */
let waits: number[];
const environment = { ...process.env };
beforeAll(async () => void (hub = await TestHub.start()));
afterAll(() => hub.stop());
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'cones-faults-'));
  cache = path.join(folder, 'hub');
  waits = [];
  process.env['HF_HOME'] = folder;
  add();
});
afterEach(() => {
  for (const name of Object.keys(process.env)) delete process.env[name];
  Object.assign(process.env, environment);
  hub.reset();
  rmSync(folder, { recursive: true });
});

const add = (more: object = {}) => hub.add({ id: NAME.id, commit: COMMIT, files: FILES, ...more });
const run = (name = NAME, changes: object = {}) =>
  pull(name, { endpoint: hub.endpoint, cache, offline: false, timeoutMs: 5000, ...changes }, { wait: async (ms) => void waits.push(ms) });
const blob = (content: Buffer) => path.join(cache, 'models--org--tiny/blobs', sha256(content));
const partial = () => `${blob(WEIGHTS)}.cones.incomplete`;
const rangesOf = (pattern: RegExp) => hub.requests.filter(({ host, url }) => pattern.test(`${host} ${url}`)).map(({ headers }) => headers.range);

async function expectWhole(): Promise<void> {
  const { folder: found, files } = await run();
  for (const { path: name } of files) expect(readFileSync(path.join(found, name)).equals(FILES.get(name)!)).toBe(true);
  expect(readdirSync(path.dirname(blob(WEIGHTS))).filter((name) => name.endsWith('.incomplete'))).toEqual([]);
}

async function expectFailure(code: string, message: RegExp, running = run()): Promise<void> {
  expect(await rejection(running)).toMatchObject({ code, message: expect.stringMatching(message) });
}

describe('what passes is tried again', () => {
  test('a connection that breaks off goes on where it ended', async () => {
    hub.misbehave(OF_UNET, cut(100_000));
    hub.misbehave(OF_UNET, cut(50_000));
    await expectWhole();
    // What was on its way when the connection broke may be lost.
    const [whole, ...later] = rangesOf(OF_UNET);
    const [first, second] = later.map((range) => Number(/^bytes=(\d+)-$/.exec(range!)![1]));
    expect([whole, later.length]).toEqual([undefined, 2]);
    expect([first! > 0 && first! <= 100_000, second! > first! && second! <= first! + 50_000]).toEqual([true, true]);
    expect(waits).toEqual([500, 1000]);
  });

  test.each([408, 429, 500, 502, 503, 504])('status %i', async (code) => {
    hub.misbehave(INFO, status(code));
    hub.misbehave(/^hub \/org\/tiny\/resolve.*vae\/config/, status(code));
    hub.misbehave(OF_UNET, status(code));
    await expectWhole();
    expect(waits).toEqual([500, 500, 500]);
  });

  test('429 waits as long as the server says, in seconds or until a date', async () => {
    hub.misbehave(INFO, status(429, { 'retry-after': '7' }));
    hub.misbehave(OF_UNET, status(503, { 'retry-after': new Date(Date.now() + 60_000).toUTCString() }));
    await expectWhole();
    expect(waits[0]).toBe(7000);
    expect(waits[1]).toBeGreaterThan(1000);
    expect(waits[1]).toBeLessThanOrEqual(60_000);
  });

  test('silence, before the headers and in the middle', async () => {
    hub.misbehave(INFO, silence);
    hub.misbehave(OF_UNET, (response) => void response.writeHead(200, { 'content-length': WEIGHTS.length }).write(WEIGHTS.subarray(0, 1000)));
    await run(NAME, { timeoutMs: 300 });
    expect(rangesOf(OF_UNET)).toEqual([undefined, 'bytes=1000-']);
  });

  test('a server that knows no ranges sends all again', async () => {
    hub.misbehave(OF_UNET, cut(100_000));
    hub.misbehave(OF_UNET, (response) => void response.writeHead(200, { 'content-length': WEIGHTS.length }).end(WEIGHTS));
    await expectWhole();
  });

  test.each<[string, Fault]>([
    ['another range', (response) => void response.writeHead(206, { 'content-range': `bytes 5-${WEIGHTS.length - 1}/${WEIGHTS.length}` }).end(WEIGHTS.subarray(5))],
    ['a range of another file', (response, _, { headers }) => void response.writeHead(206, { 'content-range': `${headers.range!.replace('=', ' ')}200001/200002` }).end('xx')],
    ['no range', (response) => void response.writeHead(206).end(WEIGHTS.subarray(100_000))],
    ['416', status(416)],
  ])('after %s it begins anew', async (_, fault) => {
    hub.misbehave(OF_UNET, cut(100_000));
    hub.misbehave(OF_UNET, fault);
    await expectWhole();
    expect(rangesOf(OF_UNET)).toEqual([undefined, expect.stringMatching(/^bytes=[1-9]\d*-$/), undefined]);
  });

  test('a file without a length, in pieces', async () => {
    hub.misbehave(OF_UNET, (response) => {
      response.writeHead(200);
      for (let i = 0; i < WEIGHTS.length; i += 1000) response.write(WEIGHTS.subarray(i, i + 1000));
      response.end();
    });
    await expectWhole();
  });
});

describe('what stays is said', () => {
  test('five failures, and the next run goes on', async () => {
    hub.misbehave(OF_UNET, cut(10_000), 5);
    await expectFailure('CONES_DOWNLOAD_FAILED', /broke off.*That was try 5.*HTTPS_PROXY/);
    const { size } = statSync(partial());
    expect([size > 0, size <= 50_000]).toEqual([true, true]);
    expect(existsSync(path.join(cache, 'models--org--tiny/refs/main'))).toBe(false);
    hub.requests.length = 0;
    await expectWhole();
    expect(rangesOf(OF_UNET)).toEqual([`bytes=${size}-`]);
  });

  test('nobody listens', () => expectFailure('CONES_DOWNLOAD_FAILED', /127\.0\.0\.1:1 cannot be reached/, run(NAME, { endpoint: 'http://127.0.0.1:1' })));

  test('a pause of an hour', async () => {
    hub.misbehave(INFO, status(429, { 'retry-after': '3600' }));
    await expectFailure('CONES_DOWNLOAD_FAILED', /answers 429.*a pause of 3600 seconds/);
    expect(waits).toEqual([]);
  });

  test('no such model, or a private one', () => expectFailure('CONES_MODEL_NOT_FOUND', /no model org\/none, or it is private.*HF_TOKEN/, run({ id: 'org/none', revision: 'main' })));
  test('no such branch', () => expectFailure('CONES_MODEL_NOT_FOUND', /no branch, tag or commit v9.*tree\/main/, run({ ...NAME, revision: 'v9' })));

  test('a file that is gone', async () => {
    hub.misbehave(/resolve.*vae\/config/, status(404));
    await expectFailure('CONES_MODEL_NOT_FOUND', /^vae\/config\.json is not there: .* answers 404/);
  });

  test('a gated model: where to accept its terms', async () => {
    add({ token: 'hf_right', gated: true });
    const page = `${hub.endpoint}/org/tiny`.replace(/[.]/g, '\\.');
    await expectFailure('CONES_MODEL_GATED', new RegExp(`accept them at ${page}, and give the token`));
    process.env['HF_TOKEN'] = 'hf_other';
    await expectFailure('CONES_MODEL_GATED', new RegExp(`accept them at ${page}, with the account of your token`));
    process.env['HF_TOKEN'] = 'hf_right';
    await expectWhole();
  });

  test('a token that is refused', async () => {
    add({ token: 'hf_right' });
    process.env['HF_TOKEN'] = 'hf_wrong';
    const { code, message } = await rejection(run());
    expect({ code, message }).toEqual({ code: 'CONES_MODEL_GATED', message: expect.stringMatching(/is refused: .* answers 401.*HF_TOKEN/) });
    expect(message).not.toContain('hf_wrong');
  });

  test.each([400, 403, 410, 418, 501])('status %i, once', async (code) => {
    hub.misbehave(OF_UNET, status(code), Infinity);
    await expectFailure(code === 403 ? 'CONES_MODEL_GATED' : 'CONES_DOWNLOAD_FAILED', new RegExp(`answers ${code}`));
    expect(waits).toEqual([]);
  });

  test('an error page of a megabyte with colours', async () => {
    hub.misbehave(OF_UNET, status(418, { 'x-error-message': `\u00a0${'x'.repeat(10_000)}` }), Infinity);
    const { message } = await rejection(run());
    expect(message.length).toBeLessThan(1000);
  });

  test('other bytes than promised: nothing is kept', async () => {
    hub.misbehave(OF_UNET, changed((content) => Buffer.concat([Buffer.from([content[0]! ^ 1]), content.subarray(1)])), Infinity);
    await expectFailure('CONES_DOWNLOAD_FAILED', /unet.*is not what the hub promises/);
    expect([existsSync(partial()), existsSync(blob(WEIGHTS))]).toEqual([false, false]);
    rmSync(cache, { recursive: true });
    hub.misbehave(/vae\/config\.json/, changed((content) => Buffer.concat([Buffer.from(' '), content.subarray(1)])), Infinity);
    await expectFailure('CONES_DOWNLOAD_FAILED', /vae\/config\.json .*is not what the hub promises/);
  });

  test('bytes of yesterday that were damaged are replaced', async () => {
    mkdirSync(path.dirname(partial()), { recursive: true });
    writeFileSync(partial(), Buffer.alloc(100_000, 7));
    await expectWhole();
    expect(rangesOf(OF_UNET)).toEqual(['bytes=100000-', undefined]);
    rmSync(cache, { recursive: true });
    mkdirSync(path.dirname(partial()), { recursive: true });
    writeFileSync(partial(), Buffer.alloc(WEIGHTS.length + 1));
    await expectWhole();
  });

  test('a blob of another length is replaced', async () => {
    mkdirSync(path.dirname(partial()), { recursive: true });
    writeFileSync(blob(WEIGHTS), WEIGHTS.subarray(1));
    await expectWhole();
  });

  test.each<[string, Fault]>([
    ['a length that is too small', (response) => void response.writeHead(200, { 'content-length': 10 }).end(WEIGHTS.subarray(0, 10))],
    ['a length that is too large', (response) => void response.writeHead(200, { 'content-length': 2 ** 45 }).write('x')],
    ['more than it says', (response) => {
      response.writeHead(200);
      response.end(Buffer.concat([WEIGHTS, Buffer.from('!')]));
    }],
    ['bytes without end', (response) => {
      response.writeHead(200);
      const more = () => void (response.writable && response.write(Buffer.alloc(1 << 16), () => setImmediate(more)));
      more();
    }],
  ])('%s', async (_, fault) => {
    hub.misbehave(OF_UNET, fault, Infinity);
    await expectFailure('CONES_DOWNLOAD_FAILED', /should have 429112 bytes, and the server (has|sends)/);
    expect(existsSync(blob(WEIGHTS))).toBe(false);
    // Not a byte beyond the file's size was written.
    if (existsSync(partial())) expect(statSync(partial()).size).toBeLessThanOrEqual(WEIGHTS.length);
  });
});

describe('redirects', () => {
  const to = (location: string): Fault => (response, _, request) => void response.writeHead(302, { location: location.replace('SELF', request.url!) }).end();

  test('in a circle', async () => {
    hub.misbehave(OF_UNET, to('SELF'), Infinity);
    await expectFailure('CONES_DOWNLOAD_FAILED', /more than 8 times/);
    expect(hub.requests.filter(({ url }) => OF_UNET.test(`cdn ${url}`)).length).toBeLessThan(10);
  });

  test.each(['file:///etc/passwd', 'ftp://127.0.0.1/x', 'http://', 'data:,x', 'javascript:1'])('to %s', async (location) => {
    hub.misbehave(INFO, to(location));
    await expectFailure('CONES_DOWNLOAD_FAILED', /which is not followed/);
  });

  test('to nowhere', async () => {
    hub.misbehave(INFO, (response) => void response.writeHead(302).end());
    await expectFailure('CONES_DOWNLOAD_FAILED', /redirects to nowhere/);
  });

  test('within the hub, as after a renaming, keep the token; to another host they lose it', async () => {
    process.env['HF_TOKEN'] = 'hf_secret';
    hub.misbehave(INFO, (response) => void response.writeHead(307, { location: `/api/models/org/tiny/revision/main?blobs=true&again` }).end());
    const seen: (string | undefined)[] = [];
    const other = createServer((request, response) => {
      seen.push(request.headers.authorization);
      response.end(FILES.get('vae/config.json'));
    });
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    hub.misbehave(/resolve.*vae\/config/, (response) => void response.writeHead(302, { location: `http://127.0.0.1:${(other.address() as AddressInfo).port}/` }).end());
    await expectWhole();
    other.closeAllConnections();
    other.close();
    expect(seen).toEqual([undefined]);
    expect(hub.requests.filter(({ url }) => url.includes('again')).map(({ headers }) => headers.authorization)).toEqual(['Bearer hf_secret']);
  });

  test('with a body without end', async () => {
    hub.misbehave(INFO, (response) => {
      response.writeHead(302, { location: `${hub.endpoint}/api/models/org/tiny/revision/main?blobs=true` });
      const more = () => void (response.writable && response.write(Buffer.alloc(1 << 16), () => setImmediate(more)));
      more();
    });
    await expectWhole();
  });
});

describe('answers about the model', () => {
  const answer = (text: string | Buffer): Fault => (response) => void response.writeHead(200).end(text);

  test.each<[string, () => Fault]>([
    ['a web page', () => answer('<!doctype html><title>Sign in</title>')],
    ['nothing', () => answer('')],
    ['null', () => answer('null')],
    ['nested brackets', () => answer('['.repeat(1_000_000))],
    ['nested objects', () => answer(`${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`)],
    ['no commit', () => answer('{"siblings":[]}')],
    ['a commit that is a path', () => answer('{"sha":"../../../../../../../../../../../../../../etc","siblings":[]}')],
    ['too many bytes', () => answer(Buffer.alloc(17 << 20, ' '))],
    ['bytes without end', () => (response) => {
      response.writeHead(200);
      const more = () => void (response.writable && response.write(Buffer.alloc(1 << 20, ' '), () => setImmediate(more)));
      more();
    }],
  ])('%s', async (_, fault) => {
    hub.misbehave(INFO, fault(), Infinity);
    await expectFailure('CONES_DOWNLOAD_FAILED', /does not answer as a hub does.*HF_ENDPOINT/);
    expect(existsSync(cache)).toBe(false);
  });

  const edited = (edit: (siblings: Info['siblings']) => unknown) => add({ edit: (info: Info) => ({ ...info, siblings: edit(info.siblings) }) });

  test.each<[string, Info['siblings'][number]]>([
    ['a negative size', { rfilename: 'a', size: -1, blobId: 'ab'.repeat(20) }],
    ['a size that is no number', { rfilename: 'a', size: '5' as never, blobId: 'ab'.repeat(20) }],
    ['a hash that is a path', { rfilename: 'a', size: 1, blobId: '../../../../x' }],
    ['no hash', { rfilename: 'a', size: 1 }],
    ['no size', { rfilename: 'a', blobId: 'ab'.repeat(20) }],
  ])('%s', async (_, file) => {
    edited((siblings) => [...siblings, file]);
    await expectFailure('CONES_DOWNLOAD_FAILED', /does not answer as a hub does/);
  });

  test('files whose names lead out are nobody\'s', async () => {
    const names = ['../x', '/etc/x', '..\\x', 'a\\..\\..\\x', 'unet/../../x', 'a\0b', 'unet//x', './x', 'C:x', 'unet/config.json\0', 'x'.repeat(2000), ''];
    edited((siblings) => [...siblings, ...names.map((rfilename) => ({ ...siblings[0]!, rfilename }))]);
    await expectWhole();
    expect(readdirSync(folder)).toEqual(['hub']);
    expect(readdirSync(cache).sort()).toEqual(['.locks', 'models--org--tiny']);
  });

  test('an index whose parts lead out, or are too many', async () => {
    const index = JSON.parse(FILES.get('model_index.json')!.toString()) as Record<string, unknown>;
    const withIndex = (more: object) => add({ files: new Map(FILES).set('model_index.json', Buffer.from(JSON.stringify({ ...index, ...more }))) });
    withIndex({ '../up': ['diffusers', 'UNet2DConditionModel'] });
    await expectFailure('CONES_CONFIG_UNSUPPORTED', /\.\.\/up/);
    rmSync(cache, { recursive: true });
    withIndex(Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`p${i}`, ['diffusers', 'X']])));
    await expectFailure('CONES_CONFIG_INVALID', /more than 64 entries/);
  });

  test('twenty thousand files', async () => {
    edited((siblings) => [...siblings, ...Array.from({ length: 20_000 }, (_, i) => ({ rfilename: `images/${i}.png`, size: 5, blobId: 'ab'.repeat(20) }))]);
    await expectWhole();
  });

  test('more than the disk has room for is not begun', async () => {
    edited((siblings) => siblings.map((file) => (file.rfilename === UNET ? { ...file, lfs: { ...file.lfs!, size: 2 ** 52 } } : file)));
    await expectFailure('CONES_IO', /needs 4194304\.0 GiB, and .* GiB left.*HF_HUB_CACHE/);
    expect(hub.paths().filter((name) => name.startsWith('cdn'))).toEqual([]);
  });

  test('a licence that is everything but a text', async () => {
    for (const card of [null, [], { license: {} }, { license: 'other', license_name: 5 }, { license: 'other', license_name: 'own\u202e', license_link: 'LICENSE.md' }]) {
      add({ card: card as object });
      const { license } = await run();
      expect(license.link).toMatch(/^http/);
      expect(license.name ?? '').not.toContain('\u202e');
    }
    expect((await run()).license).toEqual({ name: 'own\\u202e', link: `${hub.endpoint}/org/tiny/blob/main/LICENSE.md` });
  });
});

describe('others who download', () => {
  const lockOf = (content: Buffer) => path.join(cache, '.locks/models--org--tiny', `${sha256(content)}.cones.lock`);
  const lock = (content: string, seconds = 0) => {
    mkdirSync(path.dirname(lockOf(WEIGHTS)), { recursive: true });
    writeFileSync(lockOf(WEIGHTS), content);
    const then = Date.now() / 1000 - seconds;
    utimesSync(lockOf(WEIGHTS), then, then);
  };

  test('of one process: each file is fetched once', async () => {
    await Promise.all([expectWhole(), expectWhole(), expectWhole()]);
    expect(rangesOf(OF_UNET)).toEqual([undefined]);
    expect(waits).toEqual([]);
  });

  test.each<[string, string, number]>([
    ['was killed', JSON.stringify({ pid: 2 ** 22 + 1, host: os.hostname() }), 0],
    ['was silent for long', JSON.stringify({ pid: process.pid, host: os.hostname() }), 60],
    ['wrote nothing', '', 60],
    ['was on another machine', JSON.stringify({ pid: 1, host: 'elsewhere' }), 60],
  ])('a lock of one who %s is taken over', async (_, content, seconds) => {
    lock(content, seconds);
    await expectWhole();
    expect(existsSync(lockOf(WEIGHTS))).toBe(false);
  });

  test('a lock of one who lives is waited for, and what it made is taken', async () => {
    lock(JSON.stringify({ pid: process.pid, host: os.hostname() }));
    const running = run();
    while (!hub.paths().includes(`cdn /${sha256(FILES.get('vae/diffusion_pytorch_model.safetensors')!)}`)) await new Promise((resolve) => setTimeout(resolve, 10));
    writeFileSync(blob(WEIGHTS), WEIGHTS);
    await running;
    expect(rangesOf(OF_UNET)).toEqual([]);
    expect(existsSync(lockOf(WEIGHTS))).toBe(true);
  });

  test('a lock that somebody took is noticed', async () => {
    const file = path.join(folder, 'a.lock');
    const never = () => Promise.resolve(false);
    jest.useFakeTimers({ doNotFake: ['nextTick', 'setImmediate'] });
    try {
      await using held = (await Lock.take(file, new AbortController().signal, never))!;
      held.assertHeld();
      rmSync(file);
      writeFileSync(file, '');
      jest.advanceTimersByTime(5000);
      const isHeld = () => {
        try {
          held.assertHeld();
          return true;
        } catch (error) {
          expect(error).toBeInstanceOf(LockLost);
          return false;
        }
      };
      while (isHeld()) await new Promise((resolve) => setImmediate(resolve));
    } finally {
      jest.useRealTimers();
    }
    expect(existsSync(file)).toBe(true);
  });

  test('bytes that another file shares are not written to', async () => {
    mkdirSync(path.dirname(partial()), { recursive: true });
    writeFileSync(path.join(folder, 'diary'), 'dear diary');
    linkSync(path.join(folder, 'diary'), partial());
    await expectFailure('CONES_IO', /a link to another file/);
    expect(readFileSync(path.join(folder, 'diary'), 'utf8')).toBe('dear diary');
  });
});

describe('proxies', () => {
  let proxy: ReturnType<typeof createServer>;
  let asked: string[];
  beforeEach(async () => {
    asked = [];
    proxy = createServer();
    proxy.on('connect', (request, client, head) => {
      asked.push(request.url!);
      const [host, port] = request.url!.split(':');
      const server = net.connect(Number(port), host, () => {
        client.write('HTTP/1.1 200 Connection established\r\n\r\n');
        server.write(head);
        server.pipe(client).pipe(server);
      });
      for (const socket of [server, client]) socket.on('error', () => undefined);
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    process.env['http_proxy'] = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  });
  afterEach(() => {
    proxy.closeAllConnections();
    proxy.close();
  });

  test('every request takes the proxy', async () => {
    await expectWhole();
    expect(new Set(asked)).toEqual(new Set([hub.endpoint, hub.cdn].map((address) => new URL(address).host)));
  });

  test('but for hosts of NO_PROXY', async () => {
    process.env['NO_PROXY'] = `example.org, ${new URL(hub.endpoint).host}`;
    await expectWhole();
    expect(new Set(asked)).toEqual(new Set([new URL(hub.cdn).host]));
  });

  test('what is no proxy is not quoted', async () => {
    process.env['http_proxy'] = 'socks5://user:password@127.0.0.1:1';
    const { code, message } = await rejection(run());
    expect(code).toBe('CONES_OPTION_INVALID');
    expect(message).not.toContain('password');
  });
});
