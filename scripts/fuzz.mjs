// npm run fuzz [-- --seconds 60]: what reads files of others, fed with inputs that coverage leads on. TypeScript's readers in a loop of
// our own (test/fuzz/guided), the native ones by libFuzzer under ASan and UBSan where clang++ is. Corpora are made anew each time.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import os from 'node:os';
import path from 'node:path';
import { createRequire } from 'node:module';
import { root, run, script } from './run.mjs';

const at = process.argv.indexOf('--seconds');
const seconds = at < 0 ? 60 : Number(process.argv[at + 1]);

/** Seeds: a sound file, and a sound header alone. */
function seeds() {
  const header = JSON.stringify({ __metadata__: { format: 'pt' }, 'a.weight': { dtype: 'F16', shape: [2, 3], data_offsets: [0, 12] }, b: { dtype: 'F32', shape: [], data_offsets: [12, 16] } });
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return { file: Buffer.concat([length, Buffer.from(header), Buffer.alloc(16)]), header: Buffer.from(header), nested: Buffer.from('{"a":{"b":{"c":{"d":[1,2]}}}}') };
}

async function fuzzNative() {
  const clang = process.env.CLANG ?? 'clang++';
  if (spawnSync(clang, ['--version']).status !== 0) {
    console.log(`== native readers: left out, there is no ${clang} (g++ has no libFuzzer)`);
    return;
  }
  console.log(`== native readers, ${seconds} s`);
  const folder = mkdtempSync(path.join(os.tmpdir(), 'cones-fuzz-'));
  try {
    const corpus = path.join(folder, 'corpus');
    mkdirSync(corpus);
    for (const [name, bytes] of Object.entries(seeds())) writeFileSync(path.join(corpus, name), bytes);
    const program = path.join(folder, 'safetensors');
    const sources = ['test/fuzz/guided/safetensors.cc', 'csrc/io/json.cc', 'csrc/io/safetensors.cc', 'csrc/io/weight_file.cc', 'csrc/base/dtype.cc', 'csrc/base/error.cc', 'csrc/base/tensor.cc', 'csrc/base/device.cc', 'csrc/base/memory.cc', 'csrc/base/parameter.cc'];
    await run(clang, ['-std=c++20', '-O1', '-g', '-Icsrc', '-fsanitize=fuzzer,address,undefined', '-fno-sanitize-recover=all', ...sources, '-o', program]);
    // What it finds stays here: the run removes its corpus.
    await run(program, [corpus, `-max_total_time=${seconds}`, '-max_len=8192', '-timeout=10', '-rss_limit_mb=2048', '-print_final_stats=1', `-artifact_prefix=${os.tmpdir()}/cones-fuzz-`]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function fuzzTypeScript() {
  console.log(`== TypeScript's readers, ${seconds} s`);
  await run(process.execPath, [createRequire(import.meta.url).resolve('jest/bin/jest'), 'test/fuzz/guided.test.ts'], { env: { ...process.env, CONES_FUZZ_SECONDS: String(seconds) } });
}

await script(async () => {
  if (!(seconds > 0)) throw new Error('--seconds takes a number of seconds.');
  process.chdir(root);
  await fuzzTypeScript();
  await fuzzNative();
});
