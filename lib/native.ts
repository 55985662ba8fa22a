import path from 'node:path';
import nodeGypBuild from 'node-gyp-build';
import { AbortError, ConesError, ERROR_CODES, type ErrorCode } from './errors';
import { reason } from './show';
import type { NativeAddon } from '../typings/native';

/** The package's root: one above lib/ (tests) as well as above dist/ (the published build). */
const packageRoot = path.join(__dirname, '..');

let addon: NativeAddon | undefined;

/**
 * The native addon, loaded at the first call so that `require('cones')` stays cheap and concept files
 * can be read on machines that have no addon. A local build (build/Release) goes before the
 * published one (prebuilds/<platform>-<arch>).
 *
 * @throws ConesError `CONES_NATIVE_MISSING` when there is no addon for this machine or it does not load.
 */
export function native(): NativeAddon {
  addon ??= load();
  return addon;
}

function load(): NativeAddon {
  const fix =
    `Build it here: cd ${packageRoot} && npm install && npm run build:native ` +
    '(needs a C++20 compiler, CMake 3.21 or newer, and make).';
  let file: string;
  try {
    file = nodeGypBuild.path(packageRoot);
  } catch (cause) {
    const message = `cones has no native addon for ${process.platform}-${process.arch} in this installation. ${fix}`;
    throw new ConesError('CONES_NATIVE_MISSING', message, { cause });
  }
  try {
    // eslint-disable-next-line @typescript-eslint/no-require-imports -- the only way to load an addon
    return require(file) as NativeAddon;
  } catch (cause) {
    const message = `The native addon ${file} does not load on this machine: ${reason(cause)}. ${fix}`;
    throw new ConesError('CONES_NATIVE_MISSING', message, { cause });
  }
}

/**
 * What the addon threw or rejected with, as the class that users catch. The addon makes plain `Error`s
 * with one of {@link ERROR_CODES} as `code`; an error without such a code is a bug (`CONES_INTERNAL`).
 */
export function toConesError(error: unknown): ConesError {
  if (error instanceof ConesError) return error;
  const { code } = Object(error) as { code?: unknown };
  const text = reason(error);
  if (code === 'CONES_ABORTED') return new AbortError(text, { cause: error });
  const known = typeof code === 'string' && Object.hasOwn(ERROR_CODES, code);
  return new ConesError(known ? (code as ErrorCode) : 'CONES_INTERNAL', text, { cause: error });
}

/** Calls the addon; what it throws or rejects with becomes a {@link ConesError} (see {@link toConesError}). */
export async function fromNative<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw toConesError(error);
  }
}
