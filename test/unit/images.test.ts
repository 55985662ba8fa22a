import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { runInNewContext } from 'node:vm';
import { pathToFileURL } from 'node:url';
import { crc32, deflateSync } from 'node:zlib';
import sharp from 'sharp';
import { GeneratedImage } from '../../lib/images/generated-image';
import { withoutTexts } from '../../lib/images/png-chunks';
import { encodeImage, type ImageFormat, type ImageInput, loadImage, makeGrid, type Picture, readMetadata, saveImage } from '../../lib/images/images';

type Rgb = [number, number, number];
const RED: Rgb = [255, 0, 0];
const GREEN: Rgb = [0, 255, 0];
const BLUE: Rgb = [0, 0, 255];

/** A row-major picture of the given pixels. */
function pixels(width: number, height: number, colour: (x: number, y: number) => number[]): sharp.Sharp {
  const rows = Array.from({ length: height }, (_, y) => Array.from({ length: width }, (_, x) => colour(x, y)));
  const channels = rows[0]![0]!.length as 1 | 3 | 4;
  return sharp(Buffer.from(rows.flat(2)), { raw: { width, height, channels } });
}

/** Bytes of pixel (x, y) of what loadImage returned. */
function pixel(data: Float32Array, width: number, x: number, y: number): number[] {
  return [...data.subarray((y * width + x) * 3, (y * width + x) * 3 + 3)].map((value) => Math.round((value + 1) * 127.5));
}

function pngChunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const [length, crc] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  crc.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, crc]);
}

let folder: string;
beforeEach(() => (folder = mkdtempSync(path.join(tmpdir(), 'cones-images-'))));
afterEach(() => rmSync(folder, { recursive: true }));

describe('loadImage', () => {
  test('bytes become floats in [-1, 1]', async () => {
    const png = await pixels(2, 1, (x) => (x === 0 ? [0, 51, 255] : [102, 153, 204])).png().toBuffer();
    const data = await loadImage(png, { width: 2, height: 1 });
    expect(data).toBeInstanceOf(Float32Array);
    // k * 51 = k / 5 of 255
    expect([...data]).toEqual([-1, -0.6, 1, -0.2, 0.2, 0.6].map(Math.fround));
  });

  test('bytes that are given away meanwhile were copied', async () => {
    const png = await pixels(64, 64, (x, y) => [x, y, 0]).png().toBuffer();
    const wanted = await loadImage(png, { width: 64, height: 64 });
    const given = Uint8Array.from(png);
    const loading = loadImage(given, { width: 64, height: 64 });
    structuredClone(given.buffer, { transfer: [given.buffer] });
    expect(given).toHaveLength(0);
    expect(await loading).toEqual(wanted);
  });

  test('from a file', async () => {
    const file = path.join(folder, 'a.png');
    await pixels(2, 2, () => RED).png().toFile(file);
    expect(pixel(await loadImage(file, { width: 2, height: 2 }), 2, 1, 1)).toEqual(RED);
  });

  test.each(['png', 'webp', 'jpeg'] as const)('from a %s file that has taken the name of another', async (format) => {
    const [file, next] = [path.join(folder, 'a'), path.join(folder, 'b')];
    for (const colour of [RED, BLUE]) {
      await pixels(2, 2, () => colour).toFormat(format, { lossless: true }).withExif({ IFD0: { ImageDescription: `{"colour":"${colour.join()}"}` } }).toFile(next);
      renameSync(next, file);
      expect(await readMetadata(file)).toEqual({ colour: colour.join() });
      const [red, , blue] = pixel(await loadImage(file, { width: 2, height: 2 }), 2, 1, 1) as Rgb;
      expect(red > blue).toBe(colour === RED);
    }
  });

  test('is centre-cropped to the aspect ratio', async () => {
    const thirds = pixels(90, 30, (x) => [RED, GREEN, BLUE][Math.floor(x / 30)]!);
    const data = await loadImage(await thirds.png().toBuffer(), { width: 30, height: 30 });
    for (const x of [0, 15, 29]) expect(pixel(data, 30, x, 15)).toEqual(GREEN);
  });

  test.each([8, 128])('is scaled to %d pixels', async (size) => {
    const data = await loadImage(await pixels(32, 32, (_, y) => (y < 16 ? RED : BLUE)).png().toBuffer(), { width: size, height: size });
    expect(data).toHaveLength(size * size * 3);
    expect(pixel(data, size, size / 2, 0)).toEqual(RED);
    expect(pixel(data, size, size / 2, size - 1)).toEqual(BLUE);
  });

  test('EXIF orientation is applied', async () => {
    // Orientation 6: the camera was turned, so the file's left side is the top.
    const jpeg = await pixels(64, 32, (x) => (x < 32 ? RED : BLUE)).withMetadata({ orientation: 6 }).jpeg({ chromaSubsampling: '4:4:4' }).toBuffer();
    const data = await loadImage(jpeg, { width: 32, height: 64 });
    const [top, bottom] = [pixel(data, 32, 16, 8), pixel(data, 32, 16, 56)];
    expect(top[0]! - top[2]!).toBeGreaterThan(200);
    expect(bottom[2]! - bottom[0]!).toBeGreaterThan(200);
  });

  test.each<[string, Rgb | undefined, Rgb]>([
    ['white', undefined, [255, 255, 255]],
    ['the given colour', [10, 20, 30], [10, 20, 30]],
  ])('transparency shows %s', async (_, background, expected) => {
    const png = await pixels(4, 4, () => [255, 0, 0, 0]).png().toBuffer();
    expect(pixel(await loadImage(png, { width: 4, height: 4, background }), 4, 2, 2)).toEqual(expected);
  });

  test('greyscale', async () => {
    const png = await pixels(4, 4, () => [100]).toColourspace('b-w').png().toBuffer();
    expect((await sharp(png).metadata()).channels).toBe(1);
    expect(pixel(await loadImage(png, { width: 4, height: 4 }), 4, 2, 2)).toEqual([100, 100, 100]);
  });

  test('greyscale with alpha', async () => {
    const png = await pixels(4, 4, () => [100, 100, 100, 255]).toColourspace('b-w').png().toBuffer();
    expect((await sharp(png).metadata()).channels).toBe(2);
    expect(pixel(await loadImage(png, { width: 4, height: 4 }), 4, 2, 2)).toEqual([100, 100, 100]);
  });

  test.each(['rgb16', 'grey16'] as const)('16 bits per channel (%s)', async (space) => {
    const png = await pixels(4, 4, () => [100, 100, 100]).toColourspace(space).png().toBuffer();
    expect((await sharp(png).metadata()).depth).toBe('ushort');
    expect(pixel(await loadImage(png, { width: 4, height: 4 }), 4, 2, 2)).toEqual([100, 100, 100]);
  });

  test('CMYK', async () => {
    const tiff = await pixels(4, 4, () => RED).toColourspace('cmyk').tiff({ compression: 'lzw' }).toBuffer();
    expect((await sharp(tiff).metadata()).space).toBe('cmyk');
    const [r, g, b] = pixel(await loadImage(tiff, { width: 4, height: 4 }), 4, 2, 2) as Rgb;
    // Printing inks do not reach pure red.
    expect(r).toBeGreaterThan(200);
    expect(g).toBeLessThan(80);
    expect(b).toBeLessThan(80);
  });

  test('palette and animation: the first frame', async () => {
    const gif = await pixels(4, 4, () => BLUE).gif().toBuffer();
    expect(pixel(await loadImage(gif, { width: 4, height: 4 }), 4, 2, 2)).toEqual(BLUE);
  });

  describe('from whatever holds its bytes', () => {
    const png = () => pixels(2, 2, () => RED).png().toBuffer();
    const read = async (source: ImageInput) => pixel(await loadImage(source, { width: 2, height: 2 }), 2, 1, 1);

    test('a Blob, a File, an ArrayBuffer, and those of other realms', async () => {
      const bytes = await png();
      const buffer = Uint8Array.from(bytes).buffer;
      const foreign = { size: bytes.length, arrayBuffer: () => Promise.resolve(buffer) } as Blob;
      for (const source of [new Blob([bytes]), new File([bytes], 'a.png'), buffer, foreign]) expect(await read(source)).toEqual(RED);
    });

    test('a file: URL, an object as well as a text', async () => {
      const file = path.join(folder, 'a b.png');
      writeFileSync(file, await png());
      for (const source of [pathToFileURL(file), pathToFileURL(file).href]) expect(await read(source)).toEqual(RED);
      expect(await readMetadata(pathToFileURL(file))).toEqual({});
    });

    test('nothing is fetched', async () => {
      for (const source of ['https://example.org/cat.png', new URL('https://example.org/cat.png'), `data:image/png;base64,${'A'.repeat(1e6)}`, new URL('file://host/cat.png')]) {
        const failure = loadImage(source, { width: 2, height: 2 });
        await expect(failure).rejects.toMatchObject({ code: 'CONES_OPTION_INVALID', message: expect.stringMatching(/^.{1,500}$/) as string });
      }
    });

    test('a Blob that cannot be read, and one that is too large', async () => {
      const broken = { size: 1, arrayBuffer: () => Promise.reject(new Error('gone')) } as unknown as Blob;
      await expect(loadImage(broken, { width: 2, height: 2 })).rejects.toMatchObject({ code: 'CONES_IO' });
      const arrayBuffer = jest.fn();
      await expect(loadImage({ size: 2 ** 30, arrayBuffer } as unknown as Blob, { width: 2, height: 2 })).rejects.toMatchObject({ code: 'CONES_OPTION_INVALID' });
      expect(arrayBuffer).not.toHaveBeenCalled();
    });
  });

  test.each<[string, Buffer, RegExp]>([
    ['HEIC', Buffer.from('\0\0\0\x18ftypheic\0\0\0\0mif1heic', 'latin1'), /HEIC.*JPEG/],
    ['HEIC by a compatible brand', Buffer.from('\0\0\0\x18ftypmif1\0\0\0\0mif1heic', 'latin1'), /HEIC.*JPEG/],
    ['a Git LFS pointer', Buffer.from('version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n'), /Git LFS pointer.*git lfs pull/],
    ['a web page', Buffer.from('\n<!DOCTYPE html><html>Please log in'), /web page/],
  ])('says what %s is', async (_, bytes, message) => {
    await expect(loadImage(bytes, { width: 2, height: 2 })).rejects.toMatchObject({ code: 'CONES_IMAGE_INVALID', message: expect.stringMatching(message) as string });
  });

  describe('bad files', () => {
    const noise = Buffer.from(Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * 7919) % 251));
    const raw = { raw: { width: 64, height: 64, channels: 3 as const } };

    /** A PNG whose header claims 100,000 x 100,000 pixels. */
    async function bomb(): Promise<Buffer> {
      const png = await pixels(1, 1, () => RED).png().toBuffer();
      const ihdr = Buffer.from(png.subarray(12, 29));
      ihdr.writeUInt32BE(100_000, 4);
      ihdr.writeUInt32BE(100_000, 8);
      const crc = Buffer.alloc(4);
      crc.writeUInt32BE(crc32(ihdr));
      return Buffer.concat([png.subarray(0, 12), ihdr, crc, png.subarray(33)]);
    }

    const half = async (file: Promise<Buffer>): Promise<Buffer> => (await file).subarray(0, (await file).length / 2);
    test.each<[string, () => Promise<Buffer>]>([
      ['empty', async () => Buffer.alloc(0)],
      ['text', async () => Buffer.from('not a picture')],
      ['an SVG', async () => Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')],
      ['half a JPEG', () => half(sharp(noise, raw).jpeg().toBuffer())],
      ['half a PNG', () => half(sharp(noise, raw).png().toBuffer())],
      ['half a WebP', () => half(sharp(noise, raw).webp().toBuffer())],
      ['too many pixels', bomb],
    ])('%s', async (_, make) => {
      const file = path.join(folder, 'bad.png');
      writeFileSync(file, await make());
      const failure = loadImage(file, { width: 8, height: 8 });
      await expect(failure).rejects.toMatchObject({ code: 'CONES_IMAGE_INVALID' });
      await expect(failure).rejects.toThrow(file);
    });

    test('missing', async () => {
      await expect(loadImage(path.join(folder, 'x.png'), { width: 8, height: 8 })).rejects.toMatchObject({ code: 'CONES_IO' });
    });

    test('a folder, or a pipe that nobody writes into', async () => {
      const pipe = path.join(folder, 'pipe.png');
      execFileSync('mkfifo', [pipe]);
      for (const file of [folder, pipe]) {
        await expect(loadImage(file, { width: 8, height: 8 })).rejects.toMatchObject({ code: 'CONES_IO', message: expect.stringContaining(file) as string });
      }
    });

    test.each([{ width: 0, height: 8 }, { width: 8, height: 2.5 }, { width: 8, height: 1e9 }])('size %j', async (size) => {
      const png = await pixels(1, 1, () => RED).png().toBuffer();
      await expect(loadImage(png, size)).rejects.toMatchObject({ code: 'CONES_OPTION_INVALID' });
    });
  });
});

describe('encodeImage', () => {
  const picture: Picture = { width: 2, height: 1, data: Float32Array.from([-1, -0.6, 1, -0.2, 0.2, 0.6]) };
  const metadata = { prompt: 'a “V1*” cat 🐱 in a pot\nsecond line', seed: '7', empty: '' };

  test('PNG loses nothing', async () => {
    const data = await loadImage(await encodeImage(picture, { format: 'png' }), { width: 2, height: 1 });
    expect([...data]).toEqual([...picture.data]);
  });

  test('bytes of another realm are bytes', async () => {
    const data = runInNewContext('new Uint8Array([1, 2, 3, 250, 251, 252])') as Uint8Array;
    expect(await encodeImage({ width: 2, height: 1, data }, { format: 'png' })).toEqual(await encodeImage({ width: 2, height: 1, data: Uint8Array.from(data) }, { format: 'png' }));
  });

  test('floats out of range are clamped', async () => {
    const wild = { width: 2, height: 1, data: Float32Array.from([-3, 3, 1.001, NaN, Infinity, -Infinity]) };
    const { data } = await sharp(await encodeImage(wild, { format: 'png' })).raw().toBuffer({ resolveWithObject: true });
    expect([...data]).toEqual([0, 255, 255, 0, 255, 0]);
  });

  test.each<ImageFormat>(['png', 'jpeg', 'webp'])('%s keeps metadata', async (format) => {
    const bytes = await encodeImage(picture, { format, metadata });
    expect(await sharp(bytes).metadata()).toMatchObject({ format, width: 2, height: 1, channels: 3 });
    expect(await readMetadata(bytes)).toEqual(metadata);
  });

  test.each<ImageFormat>(['jpeg', 'webp'])('%s is near at the default quality', async (format) => {
    const grey = { width: 16, height: 16, data: new Uint8Array(16 * 16 * 3).fill(100) };
    const data = await loadImage(await encodeImage(grey, { format }), { width: 16, height: 16 });
    // A flat picture has only the DC coefficient: off by at most half a quantisation step, and rounding.
    for (const value of pixel(data, 16, 8, 8)) expect(Math.abs(value - 100)).toBeLessThanOrEqual(2);
  });

  test.each<[string, Picture, object]>([
    ['data of another size', { ...picture, width: 3 }, {}],
    ['no pixels', { width: 0, height: 0, data: new Uint8Array(0) }, {}],
    ['quality', picture, { format: 'jpeg', quality: 0 }],
    ['a quality that is no whole number', picture, { format: 'jpeg', quality: 50.5 }],
    ['another format', picture, { format: 'gif' }],
    ['an unknown option', picture, { qualty: 50 }],
    ['metadata that is no text', picture, { metadata: { seed: 7 } }],
    ['data that is no pixels', { ...picture, data: [1, 2, 3, 4, 5, 6] as never }, {}],
    ['a key that PNG does not allow', picture, { metadata: { ' key': 'x' } }],
    ['an empty key', picture, { metadata: { '': 'x' } }],
    ['a side that WebP does not have', { width: 20_000, height: 1, data: new Uint8Array(60_000) }, { format: 'webp' }],
    ['a side that JPEG does not have', { width: 70_000, height: 1, data: new Uint8Array(210_000) }, { format: 'jpeg' }],
    ['metadata longer than EXIF', picture, { format: 'jpeg', metadata: { prompt: 'x'.repeat(70_000) } }],
  ])('refuses %s', async (_, bad, options) => {
    await expect(encodeImage(bad, { format: 'png', ...options })).rejects.toMatchObject({ code: 'CONES_OPTION_INVALID' });
  });
});

describe('readMetadata', () => {
  test('a picture without', async () => {
    expect(await readMetadata(await pixels(1, 1, () => RED).png().toBuffer())).toEqual({});
    expect(await readMetadata(await pixels(1, 1, () => RED).jpeg().toBuffer())).toEqual({});
  });

  test.each(['a holiday', '{"a": 1, "b": "text"}', '[1]', '"x"', 'null'])("another program's description: %s", async (text) => {
    const jpeg = await pixels(1, 1, () => RED).withExif({ IFD0: { ImageDescription: text } }).jpeg().toBuffer();
    expect(await readMetadata(jpeg)).toEqual(text.includes('"b"') ? { b: 'text' } : {});
  });

  test('damaged EXIF never throws anything but ConesError', async () => {
    const jpeg = await encodeImage({ width: 1, height: 1, data: Uint8Array.from(RED) }, { format: 'jpeg', metadata: { seed: '7' } });
    const exif = jpeg.indexOf('Exif');
    for (let i = exif; i < exif + 200; i++) {
      for (const value of [0x00, 0x7f, 0xff]) {
        const damaged = Buffer.from(jpeg);
        damaged[i] = value;
        await readMetadata(damaged).catch((error: { code?: string }) => expect(error.code).toBe('CONES_IMAGE_INVALID'));
      }
    }
  });

  test('a NUL does not cut a text', async () => {
    const bytes = await encodeImage({ width: 1, height: 1, data: Uint8Array.from(RED) }, { format: 'png', metadata: { prompt: 'a\0b' } });
    expect(await readMetadata(bytes)).toEqual({ prompt: 'a\ufffdb' });
    expect((await sharp(bytes).metadata()).comments).toEqual([{ keyword: 'prompt', text: 'a\ufffdb' }]);
  });

  test("texts of other programs, packed or not", async () => {
    const png = await pixels(1, 1, () => RED).png().toBuffer();
    const texts = [
      pngChunk('tEXt', Buffer.from('Author\0J\xf6rg', 'latin1')),
      pngChunk('zTXt', Buffer.concat([Buffer.from('workflow\0\0'), deflateSync('{"nodes": []}')])),
      pngChunk('iTXt', Buffer.concat([Buffer.from('title\0\x01\0de\0Titel\0'), deflateSync(Buffer.from('Katze 🐱'))])),
      pngChunk('zTXt', Buffer.from('broken\0\0 no deflate')),
    ];
    const all = Buffer.concat([png.subarray(0, 33), ...texts, png.subarray(33)]);
    expect(await readMetadata(all)).toEqual({ Author: 'Jörg', workflow: '{"nodes": []}', title: 'Katze 🐱' });
  });

  test('a bomb of packed texts is not unpacked', async () => {
    const ours = await encodeImage({ width: 1, height: 1, data: Uint8Array.from(RED) }, { format: 'png', metadata: { seed: '7' } });
    const packed = Buffer.concat([Buffer.from('k\0\0'), deflateSync(Buffer.alloc(7 << 20))]);
    const bomb = Buffer.concat([ours.subarray(0, -12), ...Array.from({ length: 60 }, () => pngChunk('zTXt', packed)), ours.subarray(-12)]);
    // What sharp gets to see, and what is read of the texts.
    expect(withoutTexts(bomb)).toEqual(withoutTexts(ours));
    expect(withoutTexts(ours).length).toBeLessThan(ours.length);
    expect(await readMetadata(bomb)).toEqual({ seed: '7' });
    expect(pixel(await loadImage(bomb, { width: 1, height: 1 }), 1, 0, 0)).toEqual(RED);
  });

  test('nor is one in a colour profile', async () => {
    const png = await pixels(1, 1, () => RED).png().toBuffer();
    const profile = pngChunk('iCCP', Buffer.concat([Buffer.from('p\0\0'), deflateSync(Buffer.alloc(7 << 20))]));
    await expect(readMetadata(Buffer.concat([png.subarray(0, 33), profile, png.subarray(33)]))).rejects.toMatchObject({ code: 'CONES_IMAGE_INVALID' });
    // One that is fine stays.
    const wide = await pixels(1, 1, () => RED).withIccProfile('p3').png().toBuffer();
    expect((await sharp(withoutTexts(wide)).metadata()).icc).toBeDefined();
  });

  test('missing file', async () => {
    await expect(readMetadata(path.join(folder, 'x.png'))).rejects.toMatchObject({ code: 'CONES_IO' });
  });
});

describe('saveImage', () => {
  const picture: Picture = { width: 1, height: 1, data: Uint8Array.from(RED) };

  test.each([['a.png', 'png'], ['a.JPG', 'jpeg'], ['a.jpeg', 'jpeg'], ['a.webp', 'webp']])('%s is a %s', async (name, format) => {
    await saveImage(path.join(folder, name), picture);
    expect((await sharp(readFileSync(path.join(folder, name))).metadata()).format).toBe(format);
    expect(readdirSync(folder)).toEqual([name]); // no temporary file left
  });

  test.each(['a.bmp', 'a', 'png'])('%s has no known extension', async (name) => {
    await expect(saveImage(path.join(folder, name), picture)).rejects.toMatchObject({ code: 'CONES_OPTION_INVALID' });
    expect(existsSync(path.join(folder, name))).toBe(false);
  });

  test('a folder that is not there', async () => {
    await expect(saveImage(path.join(folder, 'no/a.png'), picture)).rejects.toMatchObject({ code: 'CONES_IO' });
  });

  test('options that it does not have, as the format, which the extension tells', async () => {
    const drawn = new GeneratedImage(Uint8Array.from(RED), 1, 1, { prompt: 'a' });
    const file = path.join(folder, 'a.png');
    const calls = [
      () => saveImage(file, picture, { format: 'webp' } as never),
      () => drawn.save(file, { format: 'webp' } as never),
      () => drawn.save(file, { metadata: {} } as never),
      () => drawn.toBuffer({ metadata: {} } as never),
    ];
    for (const call of calls) await expect(call()).rejects.toMatchObject({ code: 'CONES_OPTION_INVALID', message: expect.stringMatching(/format|metadata/) as string });
    expect(existsSync(file)).toBe(false);
  });
});

describe('makeGrid', () => {
  const flat = (colour: Rgb, width = 2): Picture => ({ width, height: 1, data: Uint8Array.from(new Array(width).fill(colour).flat() as number[]) });
  const W = [255, 255, 255];

  test('places pictures row by row, white between and after them', () => {
    const { width, height, data } = makeGrid([flat(RED), flat(GREEN), flat(BLUE)], 2, 1);
    expect([width, height]).toEqual([5, 3]);
    const top = [RED, RED, W, GREEN, GREEN];
    const bottom = [BLUE, BLUE, W, W, W];
    expect([...data]).toEqual([...top, W, W, W, W, W, ...bottom].flat());
  });

  test('is nearly square by default, and takes floats', () => {
    const white: Picture = { width: 1, height: 1, data: Float32Array.from([1, 1, 1]) };
    expect(makeGrid([white, white, white, white, white], undefined, 0)).toMatchObject({ width: 3, height: 2 });
  });

  test('fewer pictures than columns', () => {
    expect(makeGrid([flat(RED)], 4, 1)).toMatchObject({ width: 2, height: 1 });
  });

  test.each<[string, () => unknown, string]>([
    ['no pictures', () => makeGrid([]), 'CONES_IMAGES_MISSING'],
    ['different sizes', () => makeGrid([flat(RED), flat(RED, 3)]), 'CONES_OPTION_INVALID'],
    ['no columns', () => makeGrid([flat(RED)], 0), 'CONES_OPTION_INVALID'],
    ['a gap beyond all memory', () => makeGrid([flat(RED), flat(RED)], 2, 2 ** 40), 'CONES_OPTION_INVALID'],
    ['a negative gap', () => makeGrid([flat(RED)], 1, -1), 'CONES_OPTION_INVALID'],
  ])('%s', (_, run, code) => {
    expect(run).toThrow(expect.objectContaining({ code }) as Error);
  });
});
