// Models by their names, from a small hub on this machine (test/hub-server.ts).
import { existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, readlinkSync, realpathSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Clip, Engine, pullModel, type DownloadProgress } from '../../lib';
import { runCli } from '../cli-run';
import { blobName, filesOf, gitSha1, sha256, TestHub } from '../hub-server';
import { MODEL, rejection } from '../runtime/model';

const COMMIT = 'c0'.repeat(20);
const CARD = { license: 'creativeml-openrail-m' };
const FILES = filesOf(MODEL);
const CLIP_FILES = filesOf(path.join(__dirname, '../../models/mini-clip'));
/** What of FILES the reader of model folders reads. */
const NEEDED = [...FILES.keys()].filter((name) => name.includes('/') || name === 'model_index.json').sort();

let hub: TestHub;
let folder: string;
let cache: string;
let repository: string;
const environment = { ...process.env };
beforeAll(async () => void (hub = await TestHub.start()));
afterAll(() => hub.stop());
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'cones-hub-'));
  cache = path.join(folder, 'hub');
  repository = path.join(cache, 'models--org--tiny');
  Object.assign(process.env, { HF_ENDPOINT: hub.endpoint, HF_HOME: folder });
  hub.add({ id: 'org/tiny', commit: COMMIT, files: FILES, card: CARD });
  hub.add({ id: 'org/clip', commit: COMMIT, files: CLIP_FILES });
});
afterEach(() => {
  for (const name of Object.keys(process.env)) delete process.env[name];
  Object.assign(process.env, environment);
  hub.reset();
  rmSync(folder, { recursive: true });
});

const snapshot = (name: string) => path.join(repository, 'snapshots', COMMIT, name);

test('a model is downloaded once, and loads to the same weights as its folder', async () => {
  await using local = await Engine.load(MODEL, { threads: 1 });
  await using engine = await Engine.load('hf:org/tiny', { threads: 1 });
  expect(engine.fingerprint).toBe(local.fingerprint);
  hub.reset();
  await using again = await Engine.load('hf:org/tiny@main', { threads: 1 });
  expect(again.fingerprint).toBe(local.fingerprint);
  await using byCommit = await Engine.load(`hf:org/tiny@${COMMIT}`, { threads: 1 });
  expect(byCommit.fingerprint).toBe(local.fingerprint);
  expect(hub.requests).toEqual([]);
});

test('a CLIP pair, too', async () => {
  await using clip = await Clip.load('hf:org/clip', { threads: 1 });
  await using local = await Clip.load(path.join(__dirname, '../../models/mini-clip'), { threads: 1 });
  expect(await clip.embedTexts(['a cat'])).toEqual(await local.embedTexts(['a cat']));
});

test('the cache has the layout of huggingface_hub, and nothing that is not needed', async () => {
  const { folder: found, commit, license, files, model } = await pullModel('org/tiny');
  expect({ found, commit, license, model }).toEqual({ found: path.join(repository, 'snapshots', COMMIT), commit: COMMIT, license: { name: CARD.license, link: `${hub.endpoint}/org/tiny` }, model: 'org/tiny' });
  expect(readFileSync(path.join(repository, 'refs/main'), 'utf8')).toBe(COMMIT);
  expect([...filesOf(path.join(repository, 'blobs')).keys()].sort()).toEqual(NEEDED.map((name) => blobName(name, FILES.get(name)!)).sort());
  expect(files.map(({ path: name }) => name).sort()).toEqual(NEEDED);
  for (const name of NEEDED) {
    expect(readlinkSync(snapshot(name))).toBe(`${'../'.repeat(name.split('/').length + 1)}blobs/${blobName(name, FILES.get(name)!)}`);
    expect(readFileSync(snapshot(name)).equals(FILES.get(name)!)).toBe(true);
  }
  expect([...filesOf(path.join(cache, '.locks')).keys()]).toEqual([]);
});

test('what Python pulled is loaded, offline and without a request', async () => {
  for (const name of NEEDED) {
    const bytes = FILES.get(name)!;
    const blob = path.join(repository, 'blobs', blobName(name, bytes));
    for (const file of [blob, snapshot(name)]) mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(blob, bytes);
    symlinkSync(path.relative(path.dirname(snapshot(name)), blob), snapshot(name));
  }
  mkdirSync(path.join(repository, 'refs'));
  writeFileSync(path.join(repository, 'refs/main'), COMMIT);
  process.env['HF_HUB_OFFLINE'] = '1';
  await using engine = await Engine.load('hf:org/tiny', { threads: 1 });
  expect(engine.kvTensors.length).toBeGreaterThan(0);
  expect(hub.requests).toEqual([]);
});

test('offline, what is not whole is said to be missing', async () => {
  await pullModel('hf:org/tiny');
  unlinkSync(snapshot('vae/diffusion_pytorch_model.safetensors'));
  hub.reset();
  process.env['HF_HUB_OFFLINE'] = 'yes';
  for (const [name, message] of [['hf:org/tiny', /org\/tiny at main is not, or not whole.*HF_HUB_OFFLINE.*cones pull org\/tiny/], ['hf:org/other@v1', /org\/other at v1/]] as const) {
    expect(await rejection(Engine.load(name))).toMatchObject({ code: 'CONES_MODEL_NOT_FOUND', message: expect.stringMatching(message) });
  }
  expect(await rejection(pullModel('org/tiny'))).toMatchObject({ code: 'CONES_OPTION_INVALID' });
  expect(hub.requests).toEqual([]);
});

test('a pull fetches what is new alone, and the old commit stays', async () => {
  await pullModel('org/tiny');
  const files = new Map(FILES).set('identifiers.json', Buffer.from('["q"]'));
  hub.reset();
  const next = 'd1'.repeat(20);
  hub.add({ id: 'org/tiny', commit: next, files, card: CARD });
  const { commit } = await pullModel('org/tiny');
  expect(commit).toBe(next);
  expect(hub.paths()).toEqual(['hub /api/models/org/tiny/revision/main', `hub /org/tiny/resolve/${next}/identifiers.json`]);
  expect(readFileSync(path.join(repository, 'refs/main'), 'utf8')).toBe(next);
  process.env['HF_HUB_OFFLINE'] = '1';
  await (await Engine.load(`hf:org/tiny@${COMMIT}`, { threads: 1 })).dispose();
});

test('fp16 before fp32, safetensors alone, each part once', async () => {
  const weights = FILES.get('unet/diffusion_pytorch_model.safetensors')!;
  const more = ['unet/diffusion_pytorch_model.fp16.safetensors', 'unet/diffusion_pytorch_model.bin', 'unet/diffusion_pytorch_model.non_ema.safetensors', 'text_encoder/pytorch_model.bin', 'text_encoder/flax_model.msgpack', 'v1-5.ckpt', 'safety_checker/model.safetensors', 'README.md'];
  hub.add({ id: 'org/tiny', commit: COMMIT, files: new Map([...FILES, ...more.map((name) => [name, weights] as const)]) });
  const { files } = await pullModel('org/tiny');
  expect(files.map(({ path: name }) => name).sort()).toEqual(NEEDED.map((name) => (name === 'unet/diffusion_pytorch_model.safetensors' ? more[0]! : name)).sort());
  await (await Engine.load('hf:org/tiny', { threads: 1 })).dispose();
});

test('shards come with their index', async () => {
  const files = new Map(FILES);
  const weights = files.get('unet/diffusion_pytorch_model.safetensors')!;
  files.delete('unet/diffusion_pytorch_model.safetensors');
  files.set('unet/diffusion_pytorch_model-00001-of-00001.safetensors', weights);
  files.set('unet/diffusion_pytorch_model.safetensors.index.json', Buffer.from('{"weight_map":{"conv_in.weight":"diffusion_pytorch_model-00001-of-00001.safetensors"}}'));
  hub.add({ id: 'org/tiny', commit: COMMIT, files });
  await (await Engine.load('hf:org/tiny', { threads: 1 })).dispose();
});

test('what the engine does not load is refused before its weights are downloaded', async () => {
  const index = JSON.parse(FILES.get('model_index.json')!.toString()) as object;
  const config = JSON.parse(FILES.get('unet/config.json')!.toString()) as object;
  for (const [name, json, message] of [['model_index.json', { ...index, _class_name: 'FluxPipeline' }, /FLUX/], ['unet/config.json', { ...config, new_trick: 1 }, /new_trick/]] as const) {
    hub.add({ id: 'org/other', commit: COMMIT, files: new Map(FILES).set(name, Buffer.from(JSON.stringify(json))) });
    expect(await rejection(Engine.load('hf:org/other'))).toMatchObject({ code: 'CONES_CONFIG_UNSUPPORTED', message: expect.stringMatching(message) });
  }
  expect(hub.paths().filter((name) => name.endsWith('.safetensors'))).toEqual([]);
});

test('a repository that is no folder of a model says what it has', async () => {
  hub.add({ id: 'org/single', commit: COMMIT, files: new Map([['dream.safetensors', Buffer.from('x')]]) });
  expect(await rejection(pullModel('org/single'))).toMatchObject({ code: 'CONES_MODEL_NOT_FOUND', message: expect.stringMatching(/no model_index\.json.*single files \(dream\.safetensors\)/) });
  const files = new Map([...FILES].map(([name, bytes]) => [name.replace('unet/diffusion_pytorch_model.safetensors', 'unet/diffusion_pytorch_model.bin'), bytes]));
  hub.add({ id: 'org/pickled', commit: COMMIT, files });
  expect(await rejection(pullModel('org/pickled'))).toMatchObject({ code: 'CONES_MODEL_NOT_FOUND', message: expect.stringMatching(/unet\/diffusion_pytorch_model\.safetensors, only weights in \.bin/) });
});

test('the token goes to the hub, and to nobody else', async () => {
  hub.add({ id: 'org/tiny', commit: COMMIT, files: FILES, token: 'hf_secret' });
  process.env['HF_TOKEN'] = 'hf_secret\n';
  await pullModel('org/tiny');
  const byHost = (host: string) => new Set(hub.requests.filter((request) => request.host === host).map(({ headers }) => headers.authorization));
  expect(byHost('hub')).toEqual(new Set(['Bearer hf_secret']));
  expect(byHost('cdn')).toEqual(new Set([undefined]));
});

test('the token of hf auth login is found', async () => {
  hub.add({ id: 'org/tiny', commit: COMMIT, files: FILES, token: 'hf_file' });
  writeFileSync(path.join(folder, 'token'), 'hf_file\n');
  await pullModel('org/tiny');
  expect(hub.requests[0]!.headers.authorization).toBe('Bearer hf_file');
  process.env['HF_TOKEN'] = 'two\nlines';
  const { code, message } = await rejection(pullModel('org/tiny'));
  expect(code).toBe('CONES_OPTION_INVALID');
  expect(message).not.toContain('lines');
});

test('progress: the licence first, growing bytes, everything at the end', async () => {
  const told: DownloadProgress[] = [];
  await (await Engine.load('hf:org/tiny', { threads: 1, onDownload: (progress) => told.push(progress) })).dispose();
  const total = NEEDED.reduce((sum, name) => sum + FILES.get(name)!.length, 0);
  expect(told[0]).toMatchObject({ model: 'org/tiny', license: { name: CARD.license } });
  expect(told.at(-1)).toMatchObject({ received: total, total });
  expect(told.every(({ received }, i) => i === 0 || received >= told[i - 1]!.received)).toBe(true);
  expect(await rejection(pullModel('org/clip', { onProgress: () => { throw new Error('enough'); } }))).toMatchObject({ message: 'enough' });
});

test('a signal ends a download, which goes on later', async () => {
  const before = new AbortController();
  before.abort();
  expect(await rejection(pullModel('org/tiny', { signal: before.signal }))).toMatchObject({ code: 'CONES_ABORTED', name: 'AbortError' });
  expect(hub.requests).toEqual([]);
  const controller = new AbortController();
  hub.misbehave(/^cdn/, (response) => {
    response.writeHead(200, { 'content-length': 429112 }).write(Buffer.alloc(1000), () => controller.abort());
  }, Infinity);
  expect(await rejection(pullModel('org/tiny', { signal: controller.signal }))).toMatchObject({ code: 'CONES_ABORTED', name: 'AbortError' });
  expect(existsSync(path.join(repository, 'refs/main'))).toBe(false);
});

test('names that are none', async () => {
  for (const name of ['hf:', 'hf:a/b/c', 'hf:../x', 'hf:a/..', 'hf:org/tiny@', 'hf:org/tiny@../main', 'hf:org/tiny@a//b', 'hf:org/ti ny', 'hf:org/a--b', 'hf:org/tiny@\0', 'hf:org/tiny?x=1', 'hf:org/tiny#a', 'hf:/etc/passwd']) {
    expect(await rejection(Engine.load(name))).toMatchObject({ code: 'CONES_OPTION_INVALID' });
  }
  expect(hub.requests).toEqual([]);
  expect(existsSync(cache)).toBe(false);
});

test('allowPaths: false is about options of calls: none of them downloads anything', async () => {
  await using engine = await Engine.load('hf:org/tiny', { threads: 1, allowPaths: false });
  hub.requests.length = 0;
  const error = await rejection(engine.findConcept({ images: [new Uint8Array(3)], category: 'cat', token: 'q', report: { pictures: 1, clip: 'hf:org/clip' } }));
  expect(error).toMatchObject({ code: 'CONES_OPTION_INVALID', message: expect.stringContaining('report.clip') });
  expect(hub.requests).toEqual([]);
});

describe('links in the cache', () => {
  const outside = () => path.join(folder, 'outside');
  beforeEach(() => mkdirSync(outside()));

  test.each(['snapshots', 'blobs', 'refs'])('nothing is written through %s', async (name) => {
    mkdirSync(repository, { recursive: true });
    symlinkSync(outside(), path.join(repository, name));
    expect(await rejection(pullModel('org/tiny'))).toMatchObject({ code: 'CONES_IO', message: expect.stringContaining('leads out of the cache') });
    expect([...filesOf(outside()).keys()]).toEqual([]);
  });

  test('nor through a file that is being downloaded', async () => {
    const name = 'vae/diffusion_pytorch_model.safetensors';
    mkdirSync(path.join(repository, 'blobs'), { recursive: true });
    writeFileSync(path.join(outside(), 'diary'), 'dear diary');
    symlinkSync(path.join(outside(), 'diary'), path.join(repository, 'blobs', `${sha256(FILES.get(name)!)}.cones.incomplete`));
    expect(await rejection(pullModel('org/tiny'))).toMatchObject({ code: 'CONES_IO' });
    expect(readFileSync(path.join(outside(), 'diary'), 'utf8')).toBe('dear diary');
  });

  test('a file of a snapshot that leads out is not read, and is replaced', async () => {
    await pullModel('org/tiny');
    writeFileSync(path.join(outside(), 'config.json'), FILES.get('vae/config.json')!);
    unlinkSync(snapshot('vae/config.json'));
    symlinkSync(path.join(outside(), 'config.json'), snapshot('vae/config.json'));
    process.env['HF_HUB_OFFLINE'] = '1';
    expect(await rejection(Engine.load('hf:org/tiny'))).toMatchObject({ code: 'CONES_MODEL_NOT_FOUND' });
    delete process.env['HF_HUB_OFFLINE'];
    await pullModel('org/tiny');
    expect(realpathSync(snapshot('vae/config.json'))).toBe(realpathSync(path.join(repository, 'blobs', gitSha1(FILES.get('vae/config.json')!))));
  });

  test('a model that lies on another disk works', async () => {
    mkdirSync(cache);
    symlinkSync(outside(), repository);
    await (await Engine.load('hf:org/tiny', { threads: 1 })).dispose();
    expect(lstatSync(path.join(outside(), 'refs/main')).isFile()).toBe(true);
  });
});

describe('the command line', () => {
  test('cones pull says the licence, the size and the folder', async () => {
    const { code, stdout, stderr } = await runCli(['pull', 'org/tiny']);
    expect({ code, lines: stdout.trim().split('\n').length }).toEqual({ code: 0, lines: 3 });
    expect(stdout).toContain('licence creativeml-openrail-m');
    expect(stdout).toContain(path.join(repository, 'snapshots', COMMIT));
    expect(stderr).toContain('org/tiny: licence creativeml-openrail-m');
    const { stdout: json } = await runCli(['pull', 'hf:org/clip@main', '--json']);
    expect(JSON.parse(json)).toMatchObject({ model: 'org/clip', commit: COMMIT, license: { name: null } });
  });

  test('cones generate takes a name as its model, with a bar on a terminal', async () => {
    const output = path.join(folder, 'out.png');
    const { code, stderr } = await runCli(['generate', 'a', '--model', 'hf:org/tiny', '--steps', '2', '--seed', '1', '--grid', '--count', '2', '-o', output], { tty: true });
    expect({ code, drawn: existsSync(output) }).toEqual({ code: 0, drawn: true });
    expect(stderr).toContain('pull');
  });

  test('its errors', async () => {
    const { code, stderr } = await runCli(['pull', 'org/none']);
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/^error CONES_MODEL_NOT_FOUND: .*no model org\/none, or it is private/) });
    expect((await runCli(['pull', 'a/b/c'])).code).toBe(2);
  });
});
