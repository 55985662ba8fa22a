// The user's pages name everything that there is, with the true defaults.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import * as cones from '../../lib';
import { createProgram } from '../../lib/cli/main';
import { searchSettings } from '../../lib/methods/cones/options';

const page = (name: string) => readFileSync(path.join(__dirname, '../..', name), 'utf8');
const api = page('docs/reference/api.md');

test.each(Object.keys(cones))('docs/reference/api.md documents the export %s', (name) => {
  expect(api).toMatch(new RegExp(`\\b${name}\\b`));
});

test('docs/reference/api.md has every error code with its meaning', () => {
  for (const [code, meaning] of Object.entries(cones.ERROR_CODES)) expect(api).toContain(`| \`${code}\` | ${meaning} |`);
});

test('docs/reference/api.md has every warning code with its meaning', () => {
  for (const [code, meaning] of Object.entries(cones.WARNING_CODES)) expect(api).toContain(`| \`${code}\` | ${meaning} |`);
});

test('docs/reference/api.md has the defaults of findConcept', () => {
  const { images, category, others, layers, report, ...defaults } = searchSettings({ images: [], category: '-' });
  expect([images, category, others]).toEqual([[], '-', []]);
  expect(new Set(Object.values(layers))).toEqual(new Set([true]));
  const section = api.slice(api.indexOf('### `engine.findConcept'), api.indexOf('### `engine.startSearch'));
  const cells = new Map(section.split('\n').map((line) => line.split('|').map((cell) => cell.trim())).map(([, name = '', value = '']) => [name, value]));
  for (const [name, value] of Object.entries(defaults)) {
    const [, cell] = [...cells].find(([names]) => names.includes(`\`${name}\``)) ?? [];
    const shown = /^`?'?([^\s,'`]+)/.exec(cell ?? '')?.[1];
    expect({ [name]: typeof value === 'number' ? Number(shown) : shown }).toEqual({ [name]: typeof value === 'boolean' ? String(value) : value });
  }
  for (const [name, value] of Object.entries(report)) {
    expect(section.replace(/[`'[\]]/g, '')).toContain(`${name} ${Array.isArray(value) ? value.join(', ') : String(value)}`);
  }
});

test('the documents name no flag that does not exist', () => {
  const program = createProgram({ stdout: process.stdout, stderr: process.stderr, signal: new AbortController().signal });
  const flags = new Set(program.commands.flatMap((command) => command.options.map(({ long }) => long)));
  for (const name of ['docs/reference/cli.md', 'docs/guide/command-line.md', 'docs/guide/getting-started.md', 'docs/guide/gpu.md', 'docs/guide/train.md', 'README.md']) {
    const used = [...page(name).matchAll(/cones (?:find|refine|train|generate|inspect)[^\n]*|`(--[a-z-]+)[^\n`]*`/g)].flatMap(([text]) => text.match(/--[a-z-]+/g) ?? []);
    expect(used.filter((flag) => !flags.has(flag) && flag !== '--help')).toEqual([]);
  }
});
