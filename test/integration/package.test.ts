// The package as npm would publish it, unpacked beside its declared dependencies only, in a process
// without a PATH, so that neither a compiler nor a package of this checkout can help it to load.
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const repository = path.join(__dirname, '../..');
const { dependencies } = JSON.parse(readFileSync(path.join(repository, 'package.json'), 'utf8')) as {
  dependencies: Record<string, string>;
};

let project: string; // a project that has cones installed
let installed: string; // project/node_modules/cones

beforeAll(() => {
  project = mkdtempSync(path.join(os.tmpdir(), 'cones-package-'));
  installed = path.join(project, 'node_modules', 'cones');
  mkdirSync(installed, { recursive: true });
  execFileSync('npm', ['pack', '--ignore-scripts', '--pack-destination', project], { cwd: repository, stdio: 'pipe' });
  const tarball = readdirSync(project).find((name) => name.endsWith('.tgz'))!;
  execFileSync('tar', ['-xzf', tarball, '-C', installed, '--strip-components=1'], { cwd: project });
  for (const name of Object.keys(dependencies)) {
    const link = path.join(project, 'node_modules', name);
    mkdirSync(path.dirname(link), { recursive: true });
    symlinkSync(path.join(repository, 'node_modules', name), link);
  }
  // The addon of this build, whether or not this checkout has older prebuilds.
  rmSync(path.join(installed, 'prebuilds'), { recursive: true, force: true });
  cpSync(path.join(repository, 'build/Release'), path.join(installed, `prebuilds/${process.platform}-${process.arch}`), {
    recursive: true,
    filter: (source) => !path.extname(source) || /\.(node|so|dylib)$/.test(source),
  });
}, 120_000);

afterAll(() => rmSync(project, { recursive: true, force: true }));

/** Runs an ES module in the project, without a PATH, and returns the JSON that it prints. */
function evaluate(source: string, ...flags: string[]): unknown {
  const args = [...flags, '--input-type=module', '--eval', source];
  return JSON.parse(execFileSync(process.execPath, args, { cwd: project, env: { PATH: '' }, encoding: 'utf8' }));
}

const withRequire = "import { createRequire } from 'node:module'; const require = createRequire(process.cwd() + '/x.js');";

test('import and require give the same exports, not copies of them', () => {
  const { imported, required, same } = evaluate(`
    ${withRequire}
    import * as imported from 'cones';
    const required = require('cones');
    console.log(JSON.stringify({
      imported: Object.keys(imported), required: Object.keys(required).sort(),
      same: Object.keys(required).every((name) => imported[name] === required[name]),
    }));
  `) as { imported: string[]; required: string[]; same: boolean };
  expect(required).toContain('ConesError');
  expect(imported).toEqual(required);
  expect(same).toBe(true);
});

test('nothing in it makes a package manager compile: `npm ci` runs node-gyp wherever there is a binding.gyp', () => {
  expect(existsSync(path.join(installed, 'binding.gyp'))).toBe(false);
  const { scripts } = JSON.parse(readFileSync(path.join(installed, 'package.json'), 'utf8')) as { scripts: Record<string, string> };
  expect(Object.keys(scripts).filter((name) => /^(pre|post)?install$|^prepare$/.test(name))).toEqual([]);
});

describe('what may be published', () => {
  /** Runs the check that `npm pack` begins with on a folder; its complaint, or '' where there is none. */
  const check = (folder: string): string => {
    const script = path.join(repository, 'scripts/check-prebuild.mjs');
    return spawnSync(process.execPath, [script, folder], { encoding: 'utf8' }).stderr;
  };

  test('the libraries of this build need no newer system than glibc 2.28 and GCC 8', () => {
    expect(check(path.join(repository, 'build/Release'))).toBe('');
  });

  test('a library that asks for a newer glibc is refused', () => {
    const library = readFileSync(path.join(repository, 'build/Release/cones.node'));
    const at = library.toString('latin1').search(/GLIBC_2\.\d\d\0/); // in its table of names
    expect(at).toBeGreaterThan(0);
    library.write('GLIBC_2.29', at, 'latin1');
    const folder = path.join(project, 'newer');
    mkdirSync(folder);
    writeFileSync(path.join(folder, 'cones.node'), library);
    expect(check(folder)).toContain('cones.node needs GLIBC_2.29');
  });

  test('`npm pack` looks for a prebuilt addon first, and says how to make one', () => {
    const { scripts } = JSON.parse(readFileSync(path.join(repository, 'package.json'), 'utf8')) as { scripts: Record<string, string> };
    expect(scripts.prepack).toMatch(/^node scripts\/check-prebuild\.mjs && /);
    expect(check(path.join(project, 'nothing'))).toContain('npm run prebuilds');
  });
});

/** The anchors of a document's headings, as GitHub makes them. */
const anchors = (text: string): string[] =>
  [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
    heading!.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, '').replaceAll(' ', '-'));

/** Links of a document to what is not in its folder's package: `[from, to]`. */
function deadLinks(root: string, document: string): [string, string][] {
  const read = (file: string) => readFileSync(file, 'utf8').replace(/^```.*?^```/gms, '');
  const file = path.join(root, document);
  return [...read(file).matchAll(/\]\(([^()\s]+)\)/g)]
    .map(([, link]) => link!)
    .filter((link) => !/^[a-z]+:/.test(link))
    .filter((link) => {
      const [target, anchor] = link.split('#') as [string, string?];
      const to = target === '' ? file : path.resolve(path.dirname(file), target);
      if (path.relative(root, to).startsWith('..') || !existsSync(to)) return true;
      return anchor !== undefined && !anchors(read(to)).includes(anchor);
    })
    .map((link) => [document, link]);
}

describe('published documents', () => {
  test('no link is dead', () => {
    const documents = readdirSync(installed, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.md'));
    expect(documents).toEqual(expect.arrayContaining(['README.md', 'CHANGELOG.md', 'docs/guide/getting-started.md', 'docs/reference/api.md']));
    expect(documents.filter((name) => name.startsWith('docs/log'))).toEqual([]);
    expect(documents.flatMap((document) => deadLinks(installed, document))).toEqual([]);
  });

  test('a dead link is found', () => {
    const folder = path.join(project, 'documents');
    mkdirSync(folder);
    writeFileSync(path.join(folder, 'a.md'), '# One & two\n[1](b.md) [2](a.md#one--two) [3](#three) [4](../x.md) [5](https://a.example)\n```\n[6](no.md)\n```\n');
    writeFileSync(path.join(project, 'x.md'), '');
    expect(deadLinks(folder, 'a.md')).toEqual([['a.md', 'b.md'], ['a.md', '#three'], ['a.md', '../x.md']]);
  });
});

test('the addon is loaded by the one call that Turbopack and @vercel/nft follow', () => {
  expect(readFileSync(path.join(installed, 'dist/native.js'), 'utf8')).toContain("require('node-gyp-build')(__dirname + '/..')");
});

test('with the addon in prebuilds/ and the model in the package, it draws', () => {
  expect(evaluate(`
    import { Engine } from 'cones';
    const engine = await Engine.load('node_modules/cones/models/mini', { threads: 1 });
    const { images: [{ width, height, data }] } = await engine.generate({ prompt: 'a cat', steps: 1, seed: 1 });
    console.log(JSON.stringify([width, height, data.length]));
    await engine.dispose();
  `)).toEqual([128, 128, 128 * 128 * 3]);
});

/** What asking for the addon ends with; `file` is dist/native.js, or a copy of it. */
const nativeError = (file: string, ...flags: string[]) => evaluate(`
  ${withRequire}
  const { native } = require(${JSON.stringify(file)});
  try { native(); } catch ({ code, message }) {
    console.log(JSON.stringify({ code, message, others: Object.keys(require('cones')).length }));
  }
`, ...flags) as { code: string; message: string; others: number };
const INSTALLED = './node_modules/cones/dist/native.js';

test('where addons are not allowed, the error says so, and the rest of the package works', () => {
  const { code, message, others } = nativeError(INSTALLED, '--no-addons');
  expect(code).toBe('CONES_NATIVE_MISSING');
  expect(message).toContain('--no-addons');
  expect(others).toBeGreaterThan(0);
});

test('in a bundle, which has no addon, the error says what to do', () => {
  cpSync(path.join(installed, 'dist'), path.join(project, 'bundle/dist'), { recursive: true });
  const { code, message } = nativeError('./bundle/dist/native.js');
  expect(code).toBe('CONES_NATIVE_MISSING');
  expect(message).toContain('external');
});

test('without sharp, everything but picture files works', () => {
  const link = path.join(project, 'node_modules/sharp');
  renameSync(link, `${link}-elsewhere`);
  try {
    expect(evaluate(`
      import { Engine } from 'cones';
      const engine = await Engine.load('node_modules/cones/models/mini', { threads: 1 });
      const { images: [image] } = await engine.generate({ prompt: 'a cat', steps: 1, seed: 1 });
      console.log(JSON.stringify(await image.toBuffer().catch(({ code, message }) => ({ code, message }))));
    `)).toEqual({ code: 'CONES_NATIVE_MISSING', message: expect.stringContaining('npm install --include=optional sharp') as string });
  } finally {
    renameSync(`${link}-elsewhere`, link);
  }
});

test('without an addon, the error says how to build it, and the rest of the package works', () => {
  rmSync(path.join(installed, 'prebuilds'), { recursive: true });
  const { code, message, others } = nativeError(INSTALLED);
  expect(code).toBe('CONES_NATIVE_MISSING');
  expect(message).toContain('npm run build:native');
  expect(others).toBeGreaterThan(0);
});
