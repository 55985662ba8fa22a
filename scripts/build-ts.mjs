// Compiles lib/ to CommonJS in dist/ and writes the ES module entry beside it: a wrapper that
// re-exports the CommonJS build, so that `import` and `require` share one copy of every class.
import { rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { root, run, script } from './run.mjs';

const dist = path.join(root, 'dist');

/** `clean` starts from nothing, so that outputs of deleted sources do not get published. */
export async function buildTypeScript({ clean = false } = {}) {
  if (clean) rmSync(dist, { recursive: true, force: true });
  const require = createRequire(import.meta.url);
  await run(process.execPath, [require.resolve('typescript/bin/tsc'), '-p', 'tsconfig.build.json']);

  const names = Object.keys(require(path.join(dist, 'index.js'))).sort();
  writeFileSync(
    path.join(dist, 'index.mjs'),
    `import cones from './index.js';\n\nexport const {\n${names.map((name) => `  ${name},\n`).join('')}} = cones;\n`,
  );
  writeFileSync(path.join(dist, 'index.d.mts'), "export * from './index.js';\n");
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  await script(() => buildTypeScript({ clean: process.argv.includes('--clean') }));
}
