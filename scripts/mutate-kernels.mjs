// Plants bugs in the CUDA kernels, one at a time, and wants the kernels' tests in the emulator to catch each.
//   node scripts/mutate-kernels.mjs [WORD]     those of test/kernels/mutations.txt whose line has WORD (default: all; half an hour
//                                              on two idle cores)
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { root, script } from './run.mjs';

const call = promisify(execFile);
/** A test that still runs after so long hangs, which is a way of being caught. */
const PATIENCE_MS = 600_000;

/** The sources of a test program: its own, and those of cuda/ that it does not include itself, found as the linker would. */
function sourcesOf(test, folder) {
  const own = path.join('test', 'kernels', `${test}_test.cc`);
  const sources = [own, path.join('csrc', 'base', 'rng.cc')];
  if (/#include "\w+\.cu"/.test(readFileSync(path.join(folder, own), 'utf8'))) return sources;
  const all = readdirSync(path.join(folder, 'cuda')).filter((name) => name.endsWith('.cu'));
  const pattern = { attention: /^attention_/, conv2d: /^(conv2d_|linear\.)/, rng: /^philox_normal\./ }[test] ?? new RegExp(`^${test}\\.`);
  return [...sources, ...all.filter((name) => pattern.test(name)).map((name) => path.join('cuda', name))];
}

/** A copy of the sources, with the objects of their unchanged files. */
class Lane {
  #objects = new Map();

  constructor(folder) {
    this.folder = folder;
    for (const name of ['cuda', 'test/emulator', 'test/kernels', 'csrc/base']) cpSync(path.join(root, name), path.join(folder, name), { recursive: true });
    mkdirSync(path.join(folder, 'objects'));
  }

  async #compile(source, name, sanitized) {
    const object = path.join(this.folder, 'objects', `${name}.o`);
    const includes = ['cuda', 'test/emulator', 'test/kernels', 'csrc'].map((part) => `-I${part}`);
    await call('g++', ['-std=c++20', '-O1', '-w', '-ffp-contract=off', ...(sanitized ? ['-fsanitize=address'] : []), ...includes,
      '-x', 'c++', '-c', source, '-MMD', '-o', object], { cwd: this.folder });
    const files = readFileSync(object.replace(/o$/, 'd'), 'utf8').split(/[\s\\]+/).map((file) => path.normalize(file));
    return { object, files: new Set(files) };
  }

  /** The object of an unchanged source, compiled when first wanted. */
  async #object(source, sanitized) {
    const name = `${source.replaceAll('/', '-')}${sanitized ? '-asan' : ''}`;
    if (!this.#objects.has(name)) this.#objects.set(name, await this.#compile(source, name, sanitized));
    return this.#objects.get(name);
  }

  async plant({ test, file, sed, sanitized }) {
    const planted = path.join('cuda', file), at = path.join(this.folder, planted);
    const sources = sourcesOf(test, this.folder);
    // Before the bug is planted: which of them it is a part of.
    const clean = [];
    for (const source of sources) clean.push(await this.#object(source, sanitized));
    const before = readFileSync(at, 'utf8');
    await call('sed', ['-i', sed, at]);
    try {
      if (readFileSync(at, 'utf8') === before) return 'not applied: the code has changed, change the line';
      const binary = path.join(this.folder, 'planted');
      try {
        const objects = [];
        for (const [i, source] of sources.entries())
          objects.push(clean[i].files.has(planted) ? (await this.#compile(source, `planted-${i}`, sanitized)).object : clean[i].object);
        if (objects.every((object, i) => object === clean[i].object)) return `is not a part of ${test}_test`;
        await call('g++', [...(sanitized ? ['-fsanitize=address'] : []), ...objects, '-o', binary]);
      } catch (error) {
        return `does not compile: ${String(error.stderr).split('\n')[0]}`;
      }
      try {
        await call(binary, [], { timeout: PATIENCE_MS, env: { ...process.env, CONES_TEST_FIRST: '1' } });
        return 'missed';
      } catch {
        return 'caught';
      }
    } finally {
      cpSync(path.join(root, planted), at);
    }
  }
}

await script(async () => {
  const word = process.argv[2] ?? '';
  const lines = readFileSync(path.join(root, 'test', 'kernels', 'mutations.txt'), 'utf8').split('\n');
  const mutations = lines
    .filter((line) => line && !line.startsWith('#') && line.includes(word))
    .map((line) => line.split('\t'))
    .map(([name, test, file, sed]) => ({ name, test: test.replace(' asan', ''), file, sed, sanitized: test.endsWith(' asan') }));
  const base = mkdtempSync(path.join(os.tmpdir(), 'cones-mutations-'));
  const bad = [], total = mutations.length;
  // A lane keeps to one test while it has bugs left, for the objects' sake.
  const work = async (lane) => {
    for (let last; mutations.length > 0;) {
      const own = mutations.findIndex(({ test }) => test === last);
      const [mutation] = mutations.splice(own < 0 ? 0 : own, 1);
      last = mutation.test;
      const result = await lane.plant(mutation);
      console.log(`${result.padEnd(8)} ${mutation.file}: ${mutation.name}`);
      if (result !== 'caught') bad.push(mutation.name);
    }
  };
  const lanes = Array.from({ length: os.availableParallelism() }, (_, i) => path.join(base, String(i)));
  await Promise.all(lanes.map((folder) => work(new Lane(folder))));
  rmSync(base, { recursive: true, force: true });
  console.log(`${total - bad.length} of ${total} planted bugs caught`);
  if (bad.length > 0) throw new Error(`Not caught: ${bad.join('; ')}`);
});
