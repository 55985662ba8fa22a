// Processes that pull one model at once, and one that is killed in the middle.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { filesOf, sha256, TestHub } from '../hub-server';
import { MODEL } from '../runtime/model';

const COMMIT = 'c0'.repeat(20);
const FILES = filesOf(MODEL);
const WEIGHTS = FILES.get('unet/diffusion_pytorch_model.safetensors')!;
const OF_UNET = new RegExp(`^cdn /${sha256(WEIGHTS)}`);

let hub: TestHub;
let folder: string;
beforeAll(async () => void (hub = await TestHub.start()));
afterAll(() => hub.stop());
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'cones-pulls-'));
  hub.add({ id: 'org/tiny', commit: COMMIT, files: FILES });
});
afterEach(() => {
  hub.reset();
  rmSync(folder, { recursive: true });
});

/** `cones pull` from the sources, in a process of its own. */
function pulling(): ChildProcess {
  const script = "require('./test/runtime/register.cjs'); require('./lib').pullModel('org/tiny').catch((error) => { console.error(error); process.exit(1); });";
  const env = { ...process.env, HF_HOME: folder, HF_ENDPOINT: hub.endpoint, HF_HUB_DOWNLOAD_TIMEOUT: '60' };
  return spawn(process.execPath, ['-e', script], { cwd: path.join(__dirname, '../..'), env, stdio: ['ignore', 'ignore', 'inherit'] });
}

const blobs = () => path.join(folder, 'hub/models--org--tiny/blobs');
const gets = () => hub.requests.filter(({ host, url }) => OF_UNET.test(`${host} ${url}`)).map(({ headers }) => headers.range);

function expectWhole(): void {
  for (const name of readdirSync(blobs())) expect(name).toMatch(/^[0-9a-f]+$/);
  expect(readFileSync(path.join(blobs(), sha256(WEIGHTS))).equals(WEIGHTS)).toBe(true);
  expect(readFileSync(path.join(folder, 'hub/models--org--tiny/refs/main'), 'utf8')).toBe(COMMIT);
}

test('three at once fetch each file once', async () => {
  const codes = await Promise.all(Array.from({ length: 3 }, async () => (await once(pulling(), 'exit'))[0] as number));
  expect(codes).toEqual([0, 0, 0]);
  expect(gets()).toEqual([undefined]);
  expectWhole();
}, 180_000);

test('what a killed process had begun the next one ends', async () => {
  const partial = path.join(blobs(), `${sha256(WEIGHTS)}.cones.incomplete`);
  hub.misbehave(OF_UNET, (response) => void response.writeHead(200, { 'content-length': WEIGHTS.length }).write(WEIGHTS.subarray(0, 50_000)));
  const first = pulling();
  while ((statSync(partial, { throwIfNoEntry: false })?.size ?? 0) === 0) await new Promise((resolve) => setTimeout(resolve, 20));
  first.kill('SIGKILL');
  await once(first, 'exit');
  const { size } = statSync(partial);
  expect((await once(pulling(), 'exit'))[0]).toBe(0);
  expect(gets()).toEqual([undefined, `bytes=${size}-`]);
  expectWhole();
}, 180_000);
