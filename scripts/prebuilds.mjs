// Makes prebuilds/<platform>-<arch>/ with prebuildify, which calls node-gyp, whose binding.gyp calls
// scripts/build-native.mjs; then loads the result as a machine without a compiler would,
// and checks what it needs of a machine.
import { mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { buildNative } from './build-native.mjs';
import { root, run, script } from './run.mjs';
import { requireToolchain } from './toolchain.mjs';

/** The least that node-gyp accepts as Node's headers; it would download them, and CMake has its own. */
function stubNodeDir() {
  const nodeDir = path.join(root, '.cache', 'nodedir');
  const include = path.join(nodeDir, 'include', 'node');
  mkdirSync(include, { recursive: true });
  writeFileSync(path.join(include, 'common.gypi'), '{}\n');
  writeFileSync(path.join(include, 'config.gypi'), "{ 'variables': {} }\n");
  return nodeDir;
}

await script(async () => {
  requireToolchain({ python: true });
  const prebuildify = createRequire(import.meta.url).resolve('prebuildify/bin.js');
  await run(process.execPath, [prebuildify, '--napi', '--strip'], { env: { ...process.env, npm_config_nodedir: stubNodeDir() } });
  // prebuildify moved the addon out of build/Release; put a working copy back (nothing is compiled).
  await buildNative();
  await run(process.execPath, ['-e', "require('node-gyp-build')(process.cwd())"], { env: { PREBUILDS_ONLY: '1', PATH: '' } });
  await run(process.execPath, ['scripts/check-prebuild.mjs']);
  console.log(`prebuilds/${process.platform}-${process.arch} is ready and loads.`);
});
