// Brings a clone up to date: npm packages, addon, dist/. Does only what is missing or stale, and
// needs nothing but Node, so that `npm test` and `npm run demo` work alone in a fresh clone.
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { root, run, script } from './run.mjs';
import { requireToolchain } from './toolchain.mjs';

function requireNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 17)) {
    throw new Error(`cones needs Node 20.17 or newer; this is ${process.versions.node}. See https://nodejs.org/en/download.`);
  }
}

/** True when node_modules holds what package-lock.json asks for (npm records what it installed). */
function dependenciesInstalled() {
  const installedFile = path.join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(installedFile)) return false;
  const wanted = JSON.parse(readFileSync(path.join(root, 'package-lock.json'), 'utf8')).packages;
  const installed = JSON.parse(readFileSync(installedFile, 'utf8')).packages;
  return Object.entries(wanted).every(([name, { version, optional, peer }]) =>
    name === '' || installed[name]?.version === version || (!installed[name] && (optional || peer)));
}

export async function ensure({ tests = false } = {}) {
  requireNode();
  requireToolchain();
  if (!dependenciesInstalled()) {
    console.log('Installing npm packages …');
    await run('npm', ['ci', '--no-audit', '--no-fund']);
  }
  // CMake and tsc know themselves what is stale. Imported late: they use the packages installed above.
  console.log('Building what is stale …');
  const { buildNative } = await import('./build-native.mjs');
  await buildNative({ tests });
  const { buildTypeScript } = await import('./build-ts.mjs');
  await buildTypeScript();
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) await script(ensure);
