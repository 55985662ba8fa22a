import path from 'node:path';
import { types } from 'node:util';
import type sharp from 'sharp';
import { z } from 'zod';
import { ConesError } from '../errors';
import { readExifComment, readExifDescription } from './exif-metadata';
import { writeFileAtomic } from '../util/files';
import { isHeic } from './heic';
import { mistakenFor } from '../models/mistaken-file';
import { parseOptions } from '../util/options';
import { readA1111Parameters } from './read-a1111-parameters';
import { type ImageInput, readPicture } from './picture-source';
import { isPng, readTexts, withoutTexts } from './png-chunks';
import { addPngText } from './png-metadata';
import { brief, reason, show } from '../util/show';
import { tiffColourProblem } from './tiff-colours';

export type { ImageInput } from './picture-source';

/** A picture in memory. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  /** [height, width, 3], sRGB: floats in [-1, 1] as the autoencoder makes them, or bytes. */
  readonly data: Float32Array | Uint8Array;
}

export interface LoadOptions {
  /** Size to which the picture is scaled and centre-cropped, in pixels. */
  readonly width: number;
  readonly height: number;
  /** Red, green and blue (0 to 255) behind transparent pixels. Default white. */
  readonly background?: readonly [number, number, number] | undefined;
}

export type ImageFormat = 'png' | 'jpeg' | 'webp';

/** 100 megapixels; a small file may claim any size. */
const MAX_PIXELS = 1e8;
const MAX_SIDE = 16_384;
const MAX_GRID = 2 ** 30;

const side = z.int().min(1).max(MAX_PIXELS);
const pictureOption = z.object({
  width: side,
  height: side,
  data: z.custom<Float32Array | Uint8Array>((value) => types.isFloat32Array(value) || types.isUint8Array(value), 'must be a Float32Array or a Uint8Array'),
});

export interface EncodeOptions {
  readonly format: ImageFormat;
  /** 1 to 100, for jpeg and webp. Default 95. */
  readonly quality?: number | undefined;
  /** Texts stored in the file, such as prompt and seed: PNG iTXt, or JSON in EXIF's ImageDescription. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

export const encodeOptions = z.strictObject({
  format: z.enum(['png', 'jpeg', 'webp']),
  quality: z.int().min(1).max(100).default(95),
  metadata: z.record(z.string(), z.string()).default({}),
});

const FORMATS: Readonly<Record<string, ImageFormat>> = { '.png': 'png', '.jpg': 'jpeg', '.jpeg': 'jpeg', '.webp': 'webp' };
/** Pictures of pixels only: SVG and PDF are programs that may load other files. */
const READABLE = ['jpeg', 'png', 'webp', 'gif', 'tiff', 'heif'];
/** A JPEG segment holds 64 KiB, with EXIF's own structure. */
const MAX_EXIF_TEXT = 60_000;

/**
 * Reads a picture file: upright (EXIF orientation), flattened, converted to 8-bit sRGB, scaled
 * (Lanczos) to cover the wanted size and centre-cropped.
 * @returns [height, width, 3] in [-1, 1]
 * @throws ConesError CONES_IO for a missing file, CONES_IMAGE_INVALID for one that is no readable picture.
 */
export async function loadImage(source: ImageInput, options: LoadOptions): Promise<Float32Array> {
  const { width, height, background = [255, 255, 255] } = options;
  const [r, g, b] = background;
  if (![width, height].every((size) => Number.isInteger(size) && size > 0 && size <= MAX_SIDE)) {
    throw new ConesError('CONES_OPTION_INVALID', `A picture of ${width} x ${height} pixels cannot be made.`);
  }
  if (![r, g, b].every((value) => value >= 0 && value <= 255)) {
    throw new ConesError('CONES_OPTION_INVALID', 'background must be three numbers between 0 and 255.');
  }
  const { data, info } = await decoding(source, async (image, bytes) => {
    const { format } = await image.metadata();
    if (!READABLE.includes(format)) throw new Error(`the format ${format} is not one of ${READABLE.join(', ')}`);
    const problem = format === 'tiff' ? tiffColourProblem(bytes) : null;
    if (problem !== null) throw new Error(problem);
    return image
      .autoOrient()
      .flatten({ background: { r, g, b } })
      .toColourspace('srgb')
      .resize({ width, height, fit: 'cover', position: 'centre', kernel: 'lanczos3', fastShrinkOnLoad: false })
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
  });
  if (info.channels !== 3) throw new ConesError('CONES_INTERNAL', `A decoded picture has ${info.channels} channels.`);
  // A loop: Float32Array.from with a function takes 20 times as long, and the event loop waits for it.
  const pixels = new Float32Array(data.length);
  for (let i = 0; i < pixels.length; i++) pixels[i] = data[i]! / 127.5 - 1;
  return pixels;
}

/** Loaded for the first picture file: it takes a while, and concepts can be used where npm has installed no sharp for the machine. */
function loadSharp(): typeof sharp {
  try {
    // eslint-disable-next-line @typescript-eslint/no-require-imports -- a static import would load it with the package
    return require('sharp') as typeof sharp;
  } catch (cause) {
    const [why] = reason(cause).split('\n');
    const message = `sharp, which reads and writes pictures, does not load: ${why}. Install it for this machine: npm install --include=optional sharp`;
    throw new ConesError('CONES_NATIVE_MISSING', message, { cause });
  }
}

/** Runs `decode`; whatever goes wrong in it is the picture's fault. */
async function decoding<T>(source: ImageInput, decode: (image: sharp.Sharp, bytes: Buffer) => Promise<T>): Promise<T> {
  const { name, bytes } = await readPicture(source);
  const open = loadSharp();
  try {
    return await decode(open(isPng(bytes) ? withoutTexts(bytes) : bytes, { limitInputPixels: MAX_PIXELS, failOn: 'error' }), bytes);
  } catch (cause) {
    throw new ConesError('CONES_IMAGE_INVALID', `${name} is not a picture that can be used: ${whyUnusable(bytes, cause)}`, { cause });
  }
}

/** A sentence, and what to do where it is known. */
function whyUnusable(bytes: Buffer, cause: unknown): string {
  if (isHeic(bytes)) return 'it is HEIC, the format of iPhones, for which sharp comes without a decoder. Save it as JPEG (on the phone: Settings, Camera, Formats, Most Compatible).';
  return mistakenFor(bytes) ?? `${brief(reason(cause))}.`;
}

/**
 * Encodes a picture as a file in memory.
 * @throws ConesError CONES_OPTION_INVALID for data of another size, or a picture or metadata that the format cannot hold.
 */
export async function encodeImage(picture: Picture, options: EncodeOptions): Promise<Buffer> {
  const { format, quality, metadata } = parseOptions('A picture\'s file', encodeOptions, options);
  const checked = parseOptions('A picture', pictureOption, picture);
  const { width, height } = checked;
  // A copy, as in decoding().
  const image = loadSharp()(Buffer.from(toBytes(checked)), { raw: { width, height, channels: 3 } });
  const encoded = (file: sharp.Sharp) =>
    file.toBuffer().catch((cause: unknown) => {
      throw new ConesError('CONES_OPTION_INVALID', `A picture of ${width} x ${height} pixels cannot be written as ${format}: ${brief(reason(cause))}.`, { cause });
    });
  if (format === 'png') return addPngText(await encoded(image.png()), metadata);
  if (Object.keys(metadata).length > 0) {
    // EXIF texts are ASCII.
    const text = JSON.stringify(metadata).replace(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
    // Where stable-diffusion-webui looks for it; ASCII, too.
    const { parameters } = metadata;
    if (text.length + (parameters?.length ?? 0) > MAX_EXIF_TEXT) {
      throw new ConesError('CONES_OPTION_INVALID', `The metadata is too long for ${format}; shorten it, or write a PNG.`);
    }
    image.withExif({ IFD0: { ImageDescription: text }, ...(parameters === undefined ? {} : { IFD2: { UserComment: parameters } }) });
  }
  return encoded(format === 'jpeg' ? image.jpeg({ quality, chromaSubsampling: '4:4:4' }) : image.webp({ quality }));
}

/** [height, width, 3] bytes; floats outside [-1, 1] are clamped. */
function toBytes({ width, height, data }: Picture): Uint8Array {
  if (data.length === 0 || data.length !== width * height * 3) {
    throw new ConesError(
      'CONES_OPTION_INVALID',
      `A picture of ${width} x ${height} pixels has ${width * height * 3} values; ${data.length} are given.`,
    );
  }
  return types.isUint8Array(data) ? data : new Uint8Array(Uint8ClampedArray.from(data, (value) => (value + 1) * 127.5));
}

/**
 * Writes a picture; the extension (.png, .jpg, .jpeg, .webp) tells the format. The file appears whole or not at all.
 * @throws ConesError CONES_OPTION_INVALID or CONES_IO.
 */
export async function saveImage(file: string, picture: Picture, options: Omit<EncodeOptions, 'format'> = {}): Promise<void> {
  const settings = parseOptions('saveImage', encodeOptions.omit({ format: true }), options);
  await writeFileAtomic(file, await encodeImage(picture, { ...settings, format: formatOf(file) }));
}

/** @throws ConesError CONES_OPTION_INVALID for an extension that cannot be written. */
export function formatOf(file: string): ImageFormat {
  const format = typeof file === 'string' ? FORMATS[path.extname(file).toLowerCase()] : undefined;
  if (format === undefined) {
    throw new ConesError('CONES_OPTION_INVALID', `${show(file)} is not the path of a picture; it must end in ${Object.keys(FORMATS).join(', ')}.`);
  }
  return format;
}

/**
 * The texts in a picture that {@link encodeImage} wrote; those of other programs too, in PNG, as far as they are not megabytes.
 * @throws ConesError CONES_IO or CONES_IMAGE_INVALID.
 */
export async function readMetadata(source: ImageInput): Promise<Record<string, string>> {
  const { exif, texts } = await decoding(source, async (image, bytes) => ({
    exif: (await image.metadata()).exif,
    texts: isPng(bytes) ? readTexts(bytes) : [],
  }));
  const description = exif === undefined ? null : readExifDescription(exif);
  const comment = exif === undefined ? null : readExifComment(exif);
  return {
    // Where stable-diffusion-webui has it in a JPEG or WebP.
    ...(comment === null || !readA1111Parameters(comment) ? {} : { parameters: comment }),
    ...(description === null ? {} : parseDescription(description)),
    ...Object.fromEntries(texts),
  };
}

/** Only our own JSON: descriptions of cameras and other programs are plain text. */
function parseDescription(description: string): Record<string, string> {
  try {
    const json: unknown = JSON.parse(description);
    const entries = Object.entries(Object(json) as object).filter((entry): entry is [string, string] => typeof entry[1] === 'string');
    return Array.isArray(json) || typeof json !== 'object' ? {} : Object.fromEntries(entries);
  } catch {
    return {};
  }
}

/**
 * Puts pictures of one size side by side, row by row.
 * @param columns Default: as square as possible.
 * @param gap White pixels between neighbours. Default 4.
 */
export function makeGrid(given: readonly Picture[], columns?: number, gap = 4): Picture {
  const pictures: readonly Picture[] = parseOptions('makeGrid', z.array(pictureOption), given);
  columns ??= Math.ceil(Math.sqrt(pictures.length));
  const first = pictures[0];
  if (first === undefined) throw new ConesError('CONES_IMAGES_MISSING', 'A grid needs at least one picture.');
  if (!Number.isInteger(columns) || columns < 1 || !Number.isInteger(gap) || gap < 0) {
    throw new ConesError('CONES_OPTION_INVALID', 'columns must be a whole number of 1 or more, gap of 0 or more.');
  }
  if (pictures.some(({ width, height }) => width !== first.width || height !== first.height)) {
    throw new ConesError('CONES_OPTION_INVALID', 'All pictures of a grid must have the same size.');
  }
  const rows = Math.ceil(pictures.length / columns);
  const usedColumns = Math.min(columns, pictures.length);
  const width = usedColumns * (first.width + gap) - gap;
  const height = rows * (first.height + gap) - gap;
  if (!(width * height <= MAX_GRID)) throw new ConesError('CONES_OPTION_INVALID', `A grid of ${width} x ${height} pixels is too large: make several.`);
  const data = new Uint8Array(width * height * 3).fill(255);
  pictures.forEach((picture, i) => {
    const bytes = toBytes(picture);
    const left = (i % columns) * (first.width + gap);
    const top = Math.floor(i / columns) * (first.height + gap);
    for (let y = 0; y < first.height; y++) {
      const row = bytes.subarray(y * first.width * 3, (y + 1) * first.width * 3);
      data.set(row, ((top + y) * width + left) * 3);
    }
  });
  return { width, height, data };
}
