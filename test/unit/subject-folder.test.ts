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
  for (const [name, content] of Object.entries(files)) writeFileSync(path.join(folder, name), typeof content === 'string' || Buffer.isBuffer(content) ? content : JSON.stringify(content));
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

test('pictures under all the names that they go by', async () => {
  const folder = folderOf({ '1.jpg': '', '2.jfif': '', '3.JPE': '', '4.jif': '', '5.pjpeg': '', '6.apng': '', '7.tif': '', '8.avif': '', '9.heic': '' });
  expect(names(await readSubject(folder, { category: 'cat' }))).toEqual(['1.jpg', '2.jfif', '3.JPE', '4.jif', '5.pjpeg', '6.apng', '7.tif', '8.avif', '9.heic']);
});

test.each(['2.bmp', '2.JXL', '2.svg', '2.psd', '2.ico', '2.tga', '2.CR2', '2.dng', '2.jp2', '2.ppm'])('%s is refused by name, not left out', async (name) => {
  const refused = readSubject(folderOf({ '1.jpg': '', [name]: '' }), { category: 'cat' });
  await expect(refused).rejects.toMatchObject({ code: 'CONES_IMAGE_INVALID', message: expect.stringContaining(name) as string });
});

describe('captions in text files', () => {
  const read = async (files: Record<string, unknown>) => (await readSubject(folderOf({ '1.jpg': '', '2.png': '', ...files }), { category: 'cat' })).captions;

  test('one file beside each picture, a caption a line', async () => {
    expect(await read({ '1.txt': 'a cat at night\n', '2.TXT': '\r\n a cat \r\na photo of a cat\r\n' })).toEqual([['a V1* cat at night'], ['a V1* cat', 'a photo of a V1* cat']]);
    expect(await read({ '1.caption': 'a cat', '2.caption': 'two cats' })).toEqual([['a V1* cat'], ['two cats']]);
    expect(await read({ '1.caption': 'a cat', '1.txt': 'a cat at night', '2.caption': 'a cat' })).toEqual([['a V1* cat at night'], ['a V1* cat']]);
  });

  test('captions.json goes first, if it has captions', async () => {
    const text = { '1.txt': 'a cat at night', '2.txt': 'a cat' };
    expect(await read({ ...text, 'captions.json': { captions: ['a red cat', 'a cat'] } })).toEqual([['a red V1* cat'], ['a V1* cat']]);
    expect(await read({ ...text, 'captions.json': { category: 'cat' } })).toEqual([['a V1* cat at night'], ['a V1* cat']]);
  });

  test('a name in the other Unicode form is the same', async () => {
    const folder = folderOf({ ['é.jpg'.normalize('NFD')]: '', ['é.txt'.normalize('NFC')]: 'a cat' });
    expect((await readSubject(folder, { category: 'cat' })).captions).toEqual([['a V1* cat']]);
  });

  test.each<[string, Record<string, unknown>, RegExp]>([
    ['for one picture and not for another', { '1.txt': 'a cat' }, /2\.png has no caption.*2\.txt/],
    ['that are empty', { '1.txt': 'a cat', '2.txt': ' \n' }, /2\.txt is empty/],
    ['of another encoding', { '1.txt': 'a cat', '2.txt': Buffer.from('a b\xe9ret', 'latin1') }, /2\.txt is not UTF-8/],
    ['of a book', { '1.txt': 'a cat', '2.txt': 'a '.repeat(40_000) }, /2\.txt has 80000 bytes/],
  ])('%s are refused', async (_, files, message) => {
    await expect(read(files)).rejects.toMatchObject({ code: 'CONES_OPTION_INVALID', message: expect.stringMatching(message) as string });
  });

  test('a text of another name is none', async () => {
    expect(await read({ 'notes.txt': 'buy milk' })).toBeUndefined();
  });
});

test('byte order marks, of UTF-8 and of UTF-16', async () => {
  const encodings: ((text: string) => Buffer)[] = [
    (text) => Buffer.from(`\ufeff${text}`, 'utf8'),
    (text) => Buffer.from(`\ufeff${text}`, 'utf16le'),
    (text) => Buffer.from(`\ufeff${text}`, 'utf16le').swap16(),
  ];
  for (const encode of encodings) {
    const json = folderOf({ '1.jpg': '', 'captions.json': encode(JSON.stringify({ category: 'béret', captions: ['a béret'] })) });
    expect((await readSubject(json)).captions).toEqual([['a V1* béret']]);
    const text = folderOf({ '1.jpg': '', '1.txt': encode('a béret') });
    expect((await readSubject(text, { category: 'béret' })).captions).toEqual([['a V1* béret']]);
  }
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
