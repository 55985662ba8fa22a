import { existsSync } from 'node:fs';
import path from 'node:path';
import type nodeGypBuild from 'node-gyp-build';
import { AbortError, ConesError, ERROR_CODES, type ErrorCode } from './errors';
import { brief, reason } from './util/show';
import type { NativeAddon } from '../typings/native';

/* eslint-disable @typescript-eslint/no-require-imports -- the only way to load an addon, and only when it is needed */

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
  try {
    // In just these words: by this call Turbopack and @vercel/nft, which collect the files of a Next.js app, find the addon.
    // (`path.join`, as tsc compiles it, Turbopack does not follow.)
    return (require('node-gyp-build') as typeof nodeGypBuild)(__dirname + '/..') as NativeAddon;
  } catch (cause) {
    throw new ConesError('CONES_NATIVE_MISSING', whyMissing(findAddon(), cause), { cause });
  }
}

/** The addon's file, or undefined where there is none for this machine. */
function findAddon(): string | undefined {
  try {
    return (require('node-gyp-build') as typeof nodeGypBuild).path(packageRoot);
  } catch {
    return undefined;
  }
}

/** What keeps the addon from loading, and what to do. */
function whyMissing(file: string | undefined, cause: unknown): string {
  const { code } = Object(cause) as { code?: unknown };
  if (code === 'ERR_DLOPEN_DISABLED' || code === 'ERR_ACCESS_DENIED') {
    const permissions = 'with --permission give it --allow-addons, and --allow-fs-read for the package, the model and /etc/alpine-release';
    return `This process may not load the native addon: ${reason(cause)} Start node without --no-addons; ${permissions}.`;
  }
  if (!existsSync(path.join(packageRoot, 'CMakeLists.txt'))) {
    return `cones was bundled into ${packageRoot}, where its native addon is not. Make it external (esbuild: --external:cones), and install it beside the bundle.`;
  }
  const fix =
    `Build it here: cd ${packageRoot} && npm install && npm run build:native ` +
    '(needs a C++20 compiler, CMake 3.21 or newer, and make).';
  if (file === undefined) return `cones has no native addon for ${process.platform}-${process.arch} in this installation. ${fix}`;
  return `The native addon ${file} does not load on this machine: ${brief(reason(cause))}. ${fix}`;
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
