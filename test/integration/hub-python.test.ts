// One cache for Python's huggingface_hub and for cones, both ways, against one hub. Python: that of CONES_PYTHON, or python3; without
// huggingface_hub there the test is skipped.
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { Engine, pullModel } from '../../lib';
import { filesOf, TestHub } from '../hub-server';
import { MODEL } from '../runtime/model';

const PYTHON = process.env['CONES_PYTHON'] ?? 'python3';
const COMMIT = 'c0'.repeat(20);

function hasLibrary(): boolean {
  try {
    execFileSync(PYTHON, ['-c', 'import huggingface_hub'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const described = hasLibrary() ? describe : describe.skip;
described('with huggingface_hub', () => {
  let hub: TestHub;
  let folder: string;
  const environment = { ...process.env };
  beforeAll(async () => void (hub = await TestHub.start()));
  afterAll(() => hub.stop());
  beforeEach(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'cones-python-'));
    Object.assign(process.env, { HF_ENDPOINT: hub.endpoint, HF_HOME: folder });
    hub.add({ id: 'org/tiny', commit: COMMIT, files: filesOf(MODEL) });
  });
  afterEach(() => {
    for (const name of Object.keys(process.env)) delete process.env[name];
    Object.assign(process.env, environment);
    hub.reset();
    rmSync(folder, { recursive: true });
  });

  /** What a script prints; the hub answers it meanwhile. */
  async function python(script: string, more: Record<string, string> = {}): Promise<string> {
    const env = { ...process.env, HF_HUB_DISABLE_XET: '1', HF_HUB_DISABLE_PROGRESS_BARS: '1', ...more };
    return (await promisify(execFile)(PYTHON, ['-c', script], { env })).stdout.trim();
  }

  test('what Python pulled is loaded offline', async () => {
    const found = await python('from huggingface_hub import snapshot_download; print(snapshot_download("org/tiny", ignore_patterns=["golden*", "errors*"]))');
    hub.requests.length = 0;
    process.env['HF_HUB_OFFLINE'] = '1';
    await (await Engine.load('hf:org/tiny', { threads: 1 })).dispose();
    delete process.env['HF_HUB_OFFLINE'];
    // And a pull finds everything there.
    expect((await pullModel('org/tiny')).folder).toBe(found);
    expect(hub.paths()).toEqual(['hub /api/models/org/tiny/revision/main']);
  });

  test('what cones pulled Python finds offline, and downloads no file of it again', async () => {
    const { folder: found, files } = await pullModel('org/tiny');
    hub.requests.length = 0;
    const offline = await python(
      'from huggingface_hub import snapshot_download, hf_hub_download; print(snapshot_download("org/tiny")); print(hf_hub_download("org/tiny", "unet/config.json"))',
      { HF_HUB_OFFLINE: '1' },
    );
    expect(offline.split('\n')).toEqual([found, path.join(found, 'unet/config.json')]);
    expect(hub.requests).toEqual([]);
    const patterns = JSON.stringify(files.map(({ path: name }) => name));
    expect(await python(`from huggingface_hub import snapshot_download; print(snapshot_download("org/tiny", allow_patterns=${patterns}))`)).toBe(found);
    expect(hub.requests.filter(({ method, url }) => method === 'GET' && !url.startsWith('/api'))).toEqual([]);
    // Nothing that its own tools stumble over.
    expect(await python('from huggingface_hub import scan_cache_dir; report = scan_cache_dir(); print(len(report.warnings), [len(r.files) for repo in report.repos for r in repo.revisions])')).toBe(`0 [${files.length}]`);
  });

  test('both at once end with whole files', async () => {
    const [found, pulled] = await Promise.all([
      python('from huggingface_hub import snapshot_download; print(snapshot_download("org/tiny", ignore_patterns=["golden*", "errors*"]))'),
      pullModel('org/tiny'),
    ]);
    expect(pulled.folder).toBe(found);
    const present = filesOf(path.join(folder, 'hub/models--org--tiny/blobs'));
    expect([...present.keys()].filter((name) => name.includes('.'))).toEqual([]);
    await (await Engine.load('hf:org/tiny', { threads: 1 })).dispose();
    expect(existsSync(path.join(found, 'unet/config.json'))).toBe(true);
  });
});
