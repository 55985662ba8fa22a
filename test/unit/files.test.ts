// Files are written whole, in the right place, and nothing else is harmed; what could hang or fill the memory is not read.
import { execFileSync } from 'node:child_process';
import fs, { chmodSync, lstatSync, lutimesSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, statSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Concept } from '../../lib/concept';
import { replaceFile } from '../../lib/util/replace-file';
import { ioError, readBeginning, readRegularFile, targetOf, writeFileAtomic } from '../../lib/util/files';

let folder: string;
const at = (name: string) => path.join(folder, name);
const bytes = (text: string) => Buffer.from(text);

// The real one, as links are followed: on macOS the folder for temporary files is behind one.
beforeEach(() => void (folder = mkdtempSync(path.join(realpathSync(os.tmpdir()), 'cones-files-'))));
afterEach(() => rmSync(folder, { recursive: true }));

describe('writing', () => {
  test('follows links, to a file as well as to where none is yet', async () => {
    mkdirSync(at('elsewhere'));
    writeFileSync(at('elsewhere/there'), 'old');
    symlinkSync(at('elsewhere'), at('folder'));
    symlinkSync('elsewhere/there', at('link'));
    symlinkSync('link', at('link-to-link'));
    symlinkSync('folder/new', at('dangling'));
    for (const [name, target] of [['link', 'there'], ['link-to-link', 'there'], ['dangling', 'new'], ['folder/plain', 'plain']] as const) {
      await writeFileAtomic(at(name), bytes(name));
      expect(readFileSync(at(`elsewhere/${target}`), 'utf8')).toBe(name);
    }
    for (const name of ['link', 'link-to-link', 'dangling']) expect(lstatSync(at(name)).isSymbolicLink()).toBe(true);
    expect(readdirSync(at('elsewhere')).sort()).toEqual(['new', 'plain', 'there']);
    expect(readdirSync(folder).sort()).toEqual(['dangling', 'elsewhere', 'folder', 'link', 'link-to-link']);
  });

  test('takes every name that the file system takes', async () => {
    const longest = 'x'.repeat(255);
    await writeFileAtomic(at(longest), bytes('long'));
    expect(readFileSync(at(longest), 'utf8')).toBe('long');
    await expect(writeFileAtomic(at(`${longest}x`), bytes('long'))).rejects.toMatchObject({ code: 'CONES_IO' });
  });

  test('refuses what is no regular file, and leaves it as it is', async () => {
    execFileSync('mkfifo', [at('pipe')]);
    mkdirSync(at('folder'));
    symlinkSync('pipe', at('link-to-pipe'));
    symlinkSync('folder', at('link-to-folder'));
    symlinkSync('loop', at('loop'));
    const before = readdirSync(folder);
    for (const name of ['pipe', 'folder', 'link-to-pipe', 'link-to-folder', 'loop', 'new/', 'missing/new']) {
      await expect(writeFileAtomic(`${folder}/${name}`, bytes('x'))).rejects.toMatchObject({ code: 'CONES_IO' });
    }
    await expect(writeFileAtomic('', bytes('x'))).rejects.toMatchObject({ code: 'CONES_IO' });
    expect(lstatSync(at('pipe')).isFIFO()).toBe(true);
    expect(lstatSync(at('link-to-pipe')).isSymbolicLink()).toBe(true);
    expect(readdirSync(folder)).toEqual(before);
  });
});

describe('replacing', () => {
  const mode = (name: string) => statSync(at(name)).mode & 0o777;

  test('keeps the mode of the file that was there; a new file gets what the process gives', async () => {
    for (const [name, kept] of [['private', 0o600], ['shared', 0o664], ['script', 0o755]] as const) {
      writeFileSync(at(name), 'old');
      chmodSync(at(name), kept);
      await writeFileAtomic(at(name), bytes('new'));
      expect([readFileSync(at(name), 'utf8'), mode(name)]).toEqual(['new', kept]);
    }
    writeFileSync(at('as-always'), '');
    await writeFileAtomic(at('new'), bytes('new'));
    expect(mode('new')).toBe(mode('as-always'));
  });

  test('the file is flushed before it gets its name, the folder after it', async () => {
    const events: string[] = [];
    const fsync = jest.spyOn(fs, 'fsync').mockImplementation((descriptor, done) => {
      events.push(fs.fstatSync(descriptor).isDirectory() ? `folder with ${readdirSync(folder).join()}` : 'file');
      done(null);
    });
    await writeFileAtomic(at('cat.cones'), bytes('cat'));
    fsync.mockRestore();
    expect(events.at(-1)).toBe('folder with cat.cones');
  });

  test('removes what killed processes left an hour ago, and nothing else', async () => {
    const temporary = (digit: string) => `.cones-${digit.repeat(8)}-aaaa-bbbb-cccc-${digit.repeat(12)}.tmp`;
    const old = ['1', '2'].map(temporary);
    const others = [temporary('3'), '.cones-x.tmp', `a${temporary('4')}`, `${temporary('5')}.png`];
    for (const name of [...old, ...others]) writeFileSync(at(name), '');
    symlinkSync('elsewhere', at(temporary('6')));
    mkdirSync(at(temporary('7')));
    const before = new Date(Date.now() - 2 * 3_600_000);
    for (const name of [...old, ...others.slice(1), temporary('7')]) utimesSync(at(name), before, before);
    lutimesSync(at(temporary('6')), before, before);
    await writeFileAtomic(at('new'), bytes('new'));
    expect(readdirSync(folder).sort()).toEqual([...others, temporary('6'), temporary('7'), 'new'].sort());
  });

  test('a link itself, where nobody but cones should have put anything', async () => {
    writeFileSync(at('precious'), 'precious');
    symlinkSync('precious', at('planted'));
    await replaceFile(at('planted'), bytes('ours'));
    expect([readFileSync(at('precious'), 'utf8'), readFileSync(at('planted'), 'utf8')]).toEqual(['precious', 'ours']);
    expect(lstatSync(at('planted')).isFile()).toBe(true);
  });
});

test('a reason that is a whole sentence is not ended twice', () => {
  expect(ioError('a.cones cannot be written', new Error('This is restricted.')).message).toBe('a.cones cannot be written: This is restricted. Check the path and its permissions.');
});

test.each([
  ['ENOSPC', /: ENOSPC: no space left on device, write\. Make room on the disk/],
  ['EFBIG', /: EFBIG: file too large, write\. Raise the limit/],
  ['EROFS', /can be written to\.$/],
  ['EACCES', /Check the path and its permissions\.$/],
  ['constructor', /Check the path and its permissions\.$/],
])('what to do about %s', (code, message) => {
  const words: Record<string, string> = { ENOSPC: 'no space left on device', EFBIG: 'file too large' };
  const cause = Object.assign(new Error(`${code}: ${words[code] ?? 'refused'}, write`), { code });
  expect(ioError('a.cones cannot be written', cause)).toMatchObject({ code: 'CONES_IO', message: expect.stringMatching(message) as string });
});

test('the target of a name can be asked for without writing', async () => {
  writeFileSync(at('file'), '');
  symlinkSync('file', at('link'));
  expect(await targetOf(at('link'))).toBe(at('file'));
  expect(await targetOf(at('new'))).toBe(at('new'));
  await expect(targetOf(folder)).rejects.toMatchObject({ code: 'CONES_IO' });
});

describe('reading', () => {
  test('no more than is expected, of which nothing is read', async () => {
    writeFileSync(at('file'), 'abcdef');
    expect(await readRegularFile(at('file'), { most: 6 })).toEqual(bytes('abcdef'));
    await expect(readRegularFile(at('file'), { most: 5 })).rejects.toMatchObject({ code: 'CONES_IO' });
  });

  test('a link is refused where none is to be followed', async () => {
    writeFileSync(at('file'), 'abc');
    symlinkSync('file', at('link'));
    expect(await readRegularFile(at('link'))).toEqual(bytes('abc'));
    await expect(readRegularFile(at('link'), { followLinks: false })).rejects.toMatchObject({ code: 'CONES_IO' });
  });

  test('a pipe that nobody writes into is refused, not waited for', async () => {
    execFileSync('mkfifo', [at('pipe')]);
    for (const read of [readRegularFile(at('pipe')), readBeginning(at('pipe'), 4), Concept.load(at('pipe'))]) {
      await expect(read).rejects.toMatchObject({ code: 'CONES_IO' });
    }
  });

  test('the beginning is as long as there is something, and comes with the size of the whole', async () => {
    writeFileSync(at('file'), 'abcdef');
    expect(await readBeginning(at('file'), 4)).toEqual({ bytes: bytes('abcd'), size: 6 });
    expect(await readBeginning(at('file'), 9)).toEqual({ bytes: bytes('abcdef'), size: 6 });
  });

  test('gigabytes that are no concept are refused for what they begin with', async () => {
    writeFileSync(at('huge.cones'), '');
    // More than Node.js reads into a buffer: reading it would be another error. It has holes only, and takes no place.
    truncateSync(at('huge.cones'), 3 * 2 ** 30);
    await expect(Concept.load(at('huge.cones'))).rejects.toMatchObject({ code: 'CONES_CONCEPT_CORRUPT' });
  });
});
