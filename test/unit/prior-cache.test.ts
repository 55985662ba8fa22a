// The cache of prior pictures: what is not believed, what is not followed, and that it stays small.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { readCached, writeCached } from '../../lib/methods/shared/prior-cache';

let folder: string;
const key = (digit: number) => String(digit).repeat(32);
const at = (digit: number) => path.join(folder, `prior-${key(digit)}.latents`);
beforeEach(() => void (folder = mkdtempSync(path.join(os.tmpdir(), 'cones-prior-'))));
afterEach(() => rmSync(folder, { recursive: true }));

const LATENTS = Float32Array.of(0.5, -1, 3);

/** A whole file of any values. */
function fileOf(values: Float32Array): Buffer {
  const body = Buffer.from(values.buffer);
  return Buffer.concat([body, createHash('sha256').update(body).digest()]);
}

test('what was written is read', async () => {
  await writeCached(path.join(folder, 'new'), key(1), LATENTS);
  expect(await readCached(path.join(folder, 'new'), key(1), 3)).toEqual(LATENTS);
  expect(await readCached(path.join(folder, 'new'), key(2), 3)).toBeUndefined();
  // Of nobody else's business.
  expect(statSync(path.join(folder, 'new')).mode & 0o077).toBe(0);
});

test.each<[string, (file: string) => void]>([
  ['a pipe', (file) => void execFileSync('mkfifo', [file])],
  ['a link to an endless file', (file) => symlinkSync('/dev/zero', file)],
  ['a link to a good file', (file) => {
    writeFileSync(`${file}-elsewhere`, fileOf(LATENTS));
    symlinkSync(`${file}-elsewhere`, file);
  }],
  ['a folder', (file) => mkdirSync(file)],
  ['a longer file', (file) => writeFileSync(file, Buffer.concat([fileOf(LATENTS), Buffer.alloc(1)]))],
  ['a shorter file', (file) => writeFileSync(file, fileOf(LATENTS).subarray(1))],
  ['a damaged file', (file) => writeFileSync(file, fileOf(LATENTS).fill(1, 0, 1))],
  ['NaN', (file) => writeFileSync(file, fileOf(Float32Array.of(0, NaN, 0)))],
  ['infinity', (file) => writeFileSync(file, fileOf(Float32Array.of(0, 0, -Infinity)))],
])('%s is not believed', async (_, put) => {
  put(at(1));
  expect(await readCached(folder, key(1), 3)).toBeUndefined();
});

test('a planted link is replaced, not written through', async () => {
  const precious = path.join(folder, 'precious');
  writeFileSync(precious, 'precious');
  symlinkSync(precious, at(1));
  await writeCached(folder, key(1), LATENTS);
  expect(readFileSync(precious, 'utf8')).toBe('precious');
  expect(await readCached(folder, key(1), 3)).toEqual(LATENTS);
});

test('what was not used for longest goes when there is too much, other files stay', async () => {
  const size = fileOf(LATENTS).length;
  for (const digit of [1, 2, 3]) {
    await writeCached(folder, key(digit), LATENTS);
    utimesSync(at(digit), digit, digit);
  }
  writeFileSync(path.join(folder, 'prior-mine.latents'), Buffer.alloc(10 * size));
  // Used now, so that the second is the oldest.
  await readCached(folder, key(1), 3);
  await writeCached(folder, key(4), LATENTS, 3 * size);
  expect([1, 2, 3, 4].filter((digit) => existsSync(at(digit)))).toEqual([1, 3, 4]);
  expect(readdirSync(folder)).toContain('prior-mine.latents');
});

test('what killed processes left is removed', async () => {
  const left = path.join(folder, '.cones-11111111-2222-3333-4444-555555555555.tmp');
  writeFileSync(left, 'half');
  utimesSync(left, 1, 1);
  await writeCached(folder, key(1), LATENTS);
  expect(existsSync(left)).toBe(false);
});

test('a folder that cannot be written to only costs time', async () => {
  writeFileSync(path.join(folder, 'file'), '');
  await writeCached(path.join(folder, 'file/cache'), key(1), LATENTS);
  expect(await readCached(path.join(folder, 'file/cache'), key(1), 3)).toBeUndefined();
});
