// Folders of a subject's pictures, with captions that learn its name.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { readSubject } from '../../lib';

let root: string;
beforeAll(() => void (root = mkdtempSync(path.join(os.tmpdir(), 'cones-subject-'))));
afterAll(() => rmSync(root, { recursive: true }));

let folders = 0;
function folderOf(files: Record<string, unknown>): string {
  const folder = path.join(root, String(folders++));
  mkdirSync(folder);
  for (const [name, content] of Object.entries(files)) writeFileSync(path.join(folder, name), typeof content === 'string' ? content : JSON.stringify(content));
  return folder;
}
const names = ({ images }: { images: readonly string[] }) => images.map((image) => path.basename(image));

test('pictures come in the order of their numbers; other files are left alone', async () => {
  const folder = folderOf({ '10.png': '', '2.JPG': '', '1.webp': '', 'notes.txt': '', '.hidden.png': '' });
  const subject = await readSubject(folder, { category: 'cat' });
  expect(names(subject)).toEqual(['1.webp', '2.JPG', '10.png']);
  expect(subject).toEqual({ images: expect.arrayContaining([path.join(folder, '1.webp')]) as string[], category: 'cat', identifier: 'V1*' });
});

test.each([
  ['cat', 'a photo of a cat at night', 'a photo of a V1* cat at night'],
  ['owl', 'a photo of an owl at night', 'a photo of a V1* owl at night'],
  ['owl', 'An owl', 'A V1* owl'],
  ['ice cream', 'ice cream on a beach', 'V1* ice cream on a beach'],
  ['cat', 'The Cat and another cat', 'The V1* Cat and another cat'],
  ['cat', 'a V1* cat in a cathedral', 'a V1* cat in a cathedral'],
  ['cat', 'v1*, a cat', 'v1*, a cat'],
  ['cat', 'cattle in a cathedral', 'cattle in a cathedral'],
  ['c++ (book)', 'a c++ (book)', 'a V1* c++ (book)'],
])('%s: "%s" becomes "%s"', async (category, caption, expected) => {
  const folder = folderOf({ 'a.png': '', 'captions.json': { category, captions: [caption] } });
  expect((await readSubject(folder)).captions).toEqual([[expected]]);
});

test('lists of alternatives, another identifier and another category', async () => {
  const captions = ['a cat', ['a kitten at night', 'a cat at night']];
  const folder = folderOf({ 'a.png': '', 'b.png': '', 'captions.json': { category: 'cat', captions, licence: 'MIT' } });
  expect(await readSubject(folder, { identifier: 'V2*' })).toMatchObject({ category: 'cat', identifier: 'V2*', captions: [['a V2* cat'], ['a kitten at night', 'a V2* cat at night']] });
  expect(await readSubject(folder, { category: 'kitten' })).toMatchObject({ category: 'kitten', captions: [['a cat'], ['a V1* kitten at night', 'a cat at night']] });
});

test.each<[string, Record<string, unknown>]>([
  ['CONES_IMAGES_MISSING', { 'captions.json': { category: 'cat' } }],
  ['CONES_OPTION_INVALID', { 'a.png': '' }],
  ['CONES_OPTION_INVALID', { 'a.png': '', 'captions.json': { captions: ['a V1* cat'] } }],
  ['CONES_OPTION_INVALID', { 'a.png': '', 'captions.json': 'a cat' }],
  ['CONES_OPTION_INVALID', { 'a.png': '', 'captions.json': ['a cat'] }],
  ['CONES_OPTION_INVALID', { 'a.png': '', 'captions.json': { category: 'cat', captions: [5] } }],
  ['CONES_OPTION_INVALID', { 'a.png': '', 'captions.json': { category: 'cat', captions: [[]] } }],
  ['CONES_OPTION_INVALID', { 'a.png': '', 'captions.json': { category: 'cat', captions: ['a cat', 'two cats'] } }],
  ['CONES_OPTION_INVALID', { 'a.png': '', 'captions.json': { category: 5 } }],
])('%s for %j', async (code, files) => {
  await expect(readSubject(folderOf(files))).rejects.toMatchObject({ code });
});

test('a folder that is none, or not there, is CONES_IO', async () => {
  await expect(readSubject(path.join(root, 'nowhere'))).rejects.toMatchObject({ code: 'CONES_IO' });
  await expect(readSubject(path.join(folderOf({ 'a.png': '' }), 'a.png'))).rejects.toMatchObject({ code: 'CONES_IO' });
});
