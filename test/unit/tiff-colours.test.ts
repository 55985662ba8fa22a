// TIFF files whose colours libvips reads wrongly are refused, all others read as they are.
import sharp from 'sharp';
import { loadImage } from '../../lib/images/images';
import { tiffColourProblem } from '../../lib/images/tiff-colours';

interface Layout {
  readonly little?: boolean;
  readonly big?: boolean;
  readonly photometric?: number;
  readonly sampleFormat?: number;
}

/** A TIFF of one strip of 2 x 2 pixels (219, 29, 27), written after TIFF 6.0 and BigTIFF's specification. */
function tiff({ little = true, big = false, photometric = 2, sampleFormat = 1 }: Layout): Buffer {
  const pixels = Buffer.from(Array.from({ length: 4 }, () => [219, 29, 27]).flat());
  const file = Buffer.alloc(1024);
  const put = (at: number, size: 2 | 4 | 8, value: number) => {
    if (size === 2) file[little ? 'writeUInt16LE' : 'writeUInt16BE'](value, at);
    else if (size === 4) file[little ? 'writeUInt32LE' : 'writeUInt32BE'](value, at);
    else file[little ? 'writeBigUInt64LE' : 'writeBigUInt64BE'](BigInt(value), at);
  };
  const word = big ? 8 : 4;
  const [header, entrySize, valueAt] = big ? [16, 20, 12] : [8, 12, 8];
  const strip = 400;
  pixels.copy(file, strip);
  // Three 16-bit numbers fit into an entry of BigTIFF only.
  const triple = (at: number, value: number) => {
    for (let i = 0; i < 3; i++) put(at + 2 * i, 2, value);
    return at;
  };
  file.write(little ? 'II' : 'MM', 'latin1');
  put(2, 2, big ? 43 : 42);
  if (big) put(4, 2, 8);
  put(big ? 8 : 4, word, header);
  const tags: [number, number, number, number][] = [
    ...([[256, 3, 1, 2], [257, 3, 1, 2], [258, 3, 3, 8], [259, 3, 1, 1], [262, 3, 1, photometric], [273, 4, 1, strip], [277, 3, 1, 3]] as [number, number, number, number][]),
    ...([[278, 3, 1, 2], [279, 4, 1, pixels.length], [284, 3, 1, 1], [339, 3, 3, sampleFormat]] as [number, number, number, number][]),
  ];
  put(header, big ? 8 : 2, tags.length);
  tags.forEach(([tag, type, count, value], i) => {
    const entry = header + (big ? 8 : 2) + i * entrySize;
    put(entry, 2, tag);
    put(entry + 2, 2, type);
    put(entry + 4, word, count);
    if (count === 3 && big) triple(entry + valueAt, value);
    else if (count === 3) put(entry + valueAt, 4, triple(440 + 10 * i, value));
    else put(entry + valueAt, type === 3 ? 2 : 4, value);
  });
  return file;
}

const layouts = [true, false].flatMap((little) => [true, false].map((big) => ({ little, big })));
const firstPixel = async (file: Buffer) => [...(await loadImage(file, { width: 2, height: 2 })).subarray(0, 3)].map((value) => Math.round((value + 1) * 127.5));

test.each(layouts)('RGB is read as it is, %j', async (layout) => {
  expect(await firstPixel(tiff(layout))).toEqual([219, 29, 27]);
});

test.each(layouts)('YCbCr is refused, %j', async (layout) => {
  await expect(loadImage(tiff({ ...layout, photometric: 6 }), { width: 2, height: 2 })).rejects.toMatchObject({
    code: 'CONES_IMAGE_INVALID',
    message: expect.stringMatching(/YCbCr.*save it as/) as string,
  });
});

test.each(layouts)('signed samples are refused, %j', async (layout) => {
  await expect(loadImage(tiff({ ...layout, sampleFormat: 2 }), { width: 2, height: 2 })).rejects.toMatchObject({ code: 'CONES_IMAGE_INVALID', message: expect.stringContaining('signed') as string });
});

test('YCbCr in JPEG strips is read', async () => {
  const image = sharp({ create: { width: 16, height: 16, channels: 3, background: { r: 219, g: 29, b: 27 } } });
  const file = await image.tiff({ compression: 'jpeg', quality: 100 }).toBuffer();
  const [r, g, b] = await firstPixel(file) as [number, number, number];
  // Rounding to YCbCr and back.
  expect(Math.max(Math.abs(r - 219), Math.abs(g - 29), Math.abs(b - 27))).toBeLessThanOrEqual(3);
});

test('a damaged file is none of its business', () => {
  const whole = tiff({ photometric: 6 });
  expect(tiffColourProblem(whole)).not.toBeNull();
  for (let length = 0; length < 64; length++) expect(() => tiffColourProblem(whole.subarray(0, length))).not.toThrow();
  for (let at = 2; at < 160; at++) {
    const damaged = Buffer.from(whole);
    damaged[at] = 0xff;
    expect(() => tiffColourProblem(damaged)).not.toThrow();
  }
});
