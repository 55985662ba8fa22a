// Plants bugs in the CUDA kernels, one at a time, and wants the kernels' tests in the emulator to catch each.
//   node scripts/mutate-kernels.mjs [WORD]     those of test/kernels/mutations.txt whose line has WORD (default: all; an hour)
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { root, script } from './run.mjs';

const call = promisify(execFile);
/** A test that still runs after so long hangs, which is a way of being caught. */
const PATIENCE_MS = 300_000;

/** The sources beside the test: those it does not include itself, found as the linker would. */
function sourcesOf(test, folder) {
  const text = readFileSync(path.join(folder, 'test', 'kernels', `${test}_test.cc`), 'utf8');
  if (/#include "\w+\.cu"/.test(text)) return [];
  const all = readdirSync(path.join(folder, 'cuda')).filter((name) => name.endsWith('.cu'));
  const own = { attention: /^attention_/, conv2d: /^(conv2d_|linear\.)/, rng: /^philox_normal\./ }[test] ?? new RegExp(`^${test}\\.`);
  return all.filter((name) => own.test(name)).map((name) => path.join(folder, 'cuda', name));
}

async function plant({ test, file, sed, sanitized }, folder) {
  const planted = path.join(folder, 'cuda', file);
  const before = readFileSync(planted, 'utf8');
  await call('sed', ['-i', sed, planted]);
  if (readFileSync(planted, 'utf8') === before) return 'not applied: the code has changed, change the line';
  const binary = path.join(folder, 'planted');
  const includes = ['cuda', 'test/emulator', 'test/kernels', 'csrc'].map((name) => `-I${path.join(folder, name)}`);
  try {
    await call('g++', ['-std=c++20', '-O1', '-w', '-ffp-contract=off', ...(sanitized ? ['-fsanitize=address'] : []), ...includes,
      '-x', 'c++', path.join(folder, 'test', 'kernels', `${test}_test.cc`), ...sourcesOf(test, folder),
      path.join(folder, 'csrc', 'base', 'rng.cc'), '-o', binary]);
  } catch (error) {
    return `does not compile: ${String(error.stderr).split('\n')[0]}`;
  }
  try {
    await call(binary, [], { timeout: PATIENCE_MS });
    return 'missed';
  } catch {
    return 'caught';
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
  const bad = [];
  const work = async (lane) => {
    for (;;) {
      const mutation = mutations.shift();
      if (!mutation) return;
      const folder = path.join(base, String(lane));
      rmSync(folder, { recursive: true, force: true });
      for (const name of ['cuda', 'test/emulator', 'test/kernels', 'csrc/base']) {
        mkdirSync(path.join(folder, name), { recursive: true });
        cpSync(path.join(root, name), path.join(folder, name), { recursive: true });
      }
      const result = await plant(mutation, folder);
      console.log(`${result.padEnd(8)} ${mutation.file}: ${mutation.name}`);
      if (result !== 'caught') bad.push(mutation.name);
    }
  };
  const total = mutations.length;
  await Promise.all(Array.from({ length: os.availableParallelism() }, (_, lane) => work(lane)));
  rmSync(base, { recursive: true, force: true });
  console.log(`${total - bad.length} of ${total} planted bugs caught`);
  if (bad.length > 0) throw new Error(`Not caught: ${bad.join('; ')}`);
});
