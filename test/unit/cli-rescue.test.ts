// Where results go when their files cannot be written.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Rescue } from '../../lib/cli/rescue';
import { ConesError } from '../../lib/errors';
import { writeFileAtomic } from '../../lib/util/files';

let folder: string;
const others: string[] = [];
beforeAll(() => void (folder = mkdtempSync(path.join(os.tmpdir(), 'cones-rescue-'))));
afterAll(() => [folder, ...others].forEach((name) => rmSync(name, { recursive: true })));

const write = (text: string) => (file: string) => writeFileAtomic(file, Buffer.from(text));
const fails = (code: 'CONES_IO' | 'CONES_OPTION_INVALID') => () => Promise.reject(new ConesError(code, 'No.'));

test('what can be written stays where it belongs', async () => {
  const rescue = new Rescue();
  const file = path.join(folder, 'cat.cones');
  expect(await rescue.save(file, write('cat'))).toBe(file);
  expect(readFileSync(file, 'utf8')).toBe('cat');
  rescue.assertUnneeded();
});

test('what cannot is in another place, which the error names; names may be of any length', async () => {
  const rescue = new Rescue();
  const names = Array.from({ length: 5 }, (_, i) => `${'x'.repeat(300)}-${i}.png`);
  const saved: string[] = [];
  for (const name of names) saved.push((await rescue.save(path.join(folder, 'missing', name), write(name)))!);
  others.push(path.dirname(saved[0]!));
  expect(new Set(saved.map((file) => path.dirname(file))).size).toBe(1);
  expect(saved.map((file) => readFileSync(file, 'utf8'))).toEqual(names);
  expect(() => rescue.assertUnneeded()).toThrow(expect.objectContaining({ code: 'CONES_IO' }) as Error);
  expect(rescue.problem).toContain('missing');
  for (const file of saved.slice(0, 3)) expect(rescue.problem).toContain(file);
  expect(rescue.problem).toContain('and 2 more');
});

test('what can be written nowhere is said to be lost', async () => {
  const rescue = new Rescue();
  const folders: string[] = [];
  const file = path.join(folder, 'lost.cones');
  const saved = await rescue.save(file, (name) => {
    folders.push(path.dirname(name));
    return fails('CONES_IO')();
  });
  others.push(folders[1]!);
  expect(saved).toBeUndefined();
  expect(rescue.problem).toContain(`Lost, as that failed, too: ${file}`);
  expect(rescue.problem).not.toContain('Saved instead');
});

test('other errors are not about the file', async () => {
  const rescue = new Rescue();
  await expect(rescue.save(path.join(folder, 'x.cones'), fails('CONES_OPTION_INVALID'))).rejects.toMatchObject({ code: 'CONES_OPTION_INVALID' });
  expect(existsSync(path.join(folder, 'x.cones'))).toBe(false);
  rescue.assertUnneeded();
});
