// Builds the addon through cmake-js and puts it into build/Release, where node-gyp-build looks.
//   node scripts/build-native.mjs           the addon
//   node scripts/build-native.mjs --tests   the addon and the C++ tests
// With CUDA where nvcc is: CONES_CUDA=ON|OFF|AUTO and CONES_CUDA_ARCHITECTURES=90a-real in the environment say otherwise.
import { copyFileSync, mkdirSync, readdirSync, renameSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { root, run, script } from './run.mjs';
import { requireToolchain } from './toolchain.mjs';

/** CMake's tree. Not under build/, because node-gyp (which prebuildify calls) deletes build/. */
export const cmakeDir = path.join(root, '.cache', 'cmake');

function cmakeJs() {
  try {
    return createRequire(import.meta.url).resolve('cmake-js/bin/cmake-js');
  } catch {
    throw new Error(`cmake-js is not installed. Run: cd ${root} && npm install`);
  }
}

export async function buildNative({ tests = false } = {}) {
  requireToolchain();
  // When node-gyp's make calls this script, CMake's own make must not think that it is its child.
  const env = { ...process.env };
  for (const name of ['MAKEFLAGS', 'MFLAGS', 'MAKELEVEL']) delete env[name];

  const cli = [cmakeJs(), '--out', cmakeDir, '--log-level', 'error'];
  // Not `cmake-js compile`, which answers a compile error with a second, full build.
  const settings = {
    CONES_TESTS: tests ? 'ON' : 'OFF',
    CONES_CUDA: process.env.CONES_CUDA || 'AUTO',
    CONES_CUDA_ARCHITECTURES: process.env.CONES_CUDA_ARCHITECTURES ?? '',
    CMAKE_MESSAGE_LOG_LEVEL: 'WARNING',
  };
  await run(process.execPath, [...cli, 'configure', ...Object.entries(settings).map(([name, value]) => `--CD${name}=${value}`)], { env });
  await run(process.execPath, [...cli, 'build', '--parallel', String(os.availableParallelism())], { env });

  const built = path.join(cmakeDir, 'Release');
  const release = path.join(root, 'build', 'Release');
  mkdirSync(release, { recursive: true });
  for (const name of readdirSync(built).filter((file) => /\.(node|so|dylib)$/.test(file))) {
    // Renamed into place: writing into a library that a running process has mapped would crash it.
    const temporary = path.join(release, `.${name}.${process.pid}`);
    copyFileSync(path.join(built, name), temporary);
    renameSync(temporary, path.join(release, name));
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  await script(() => buildNative({ tests: process.argv.includes('--tests') }));
}
