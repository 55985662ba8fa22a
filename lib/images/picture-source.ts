/** Where a picture comes from, and its bytes. */
import { fileURLToPath } from 'node:url';
import { types } from 'node:util';
import { ConesError } from '../errors';
import { readRegularFile } from '../util/files';
import { brief, reason, show } from '../util/show';

/** A picture: the path of its file or a `file:` URL, or the bytes of one, however the platform holds them. */
export type ImageInput = string | URL | Uint8Array | ArrayBuffer | Blob;

/** 100 megapixels of 8 bits a channel take 400 MB as they are. */
const MOST_BYTES = 2 ** 29;

const KINDS = 'the path of a file or its file: URL, or its bytes as a Buffer, a Uint8Array, an ArrayBuffer, a Blob or a File';

/** Not `instanceof`: things may come from another realm. */
export function isImageInput(value: unknown): value is ImageInput {
  return (typeof value === 'string' && value !== '') || isUrl(value) || isBytes(value) || isBlob(value);
}

/** Whether it makes cones read a file. */
export function isPath(value: unknown): boolean {
  return typeof value === 'string' || isUrl(value);
}

/**
 * What a message calls a picture.
 * @throws ConesError CONES_OPTION_INVALID for an address that is no file's
 */
export function pictureName(source: ImageInput): string {
  return typeof source === 'string' || isUrl(source) ? brief(pathOf(source)) : 'The picture';
}

/**
 * The bytes of a picture, copied: libvips reads on threads of its own, and the caller may give them away meanwhile.
 * @returns `name`: as {@link pictureName}
 * @throws ConesError CONES_IO, CONES_OPTION_INVALID
 */
export async function readPicture(source: ImageInput): Promise<{ name: string; bytes: Buffer }> {
  const name = pictureName(source);
  if (typeof source === 'string' || isUrl(source)) return { name, bytes: await readRegularFile(pathOf(source), { most: MOST_BYTES }) };
  if (!isImageInput(source)) throw new ConesError('CONES_OPTION_INVALID', `A picture must be ${KINDS}.`);
  const size = isBlob(source) ? source.size : source.byteLength;
  if (size > MOST_BYTES) throw new ConesError('CONES_OPTION_INVALID', `A picture has ${size} bytes, where at most ${MOST_BYTES} are read. Make it smaller.`);
  return { name, bytes: isBlob(source) ? await blobBytes(source) : Buffer.from(copyOf(source)) };
}

async function blobBytes(blob: Blob): Promise<Buffer> {
  try {
    return Buffer.from(await blob.arrayBuffer());
  } catch (cause) {
    throw new ConesError('CONES_IO', `The picture's Blob cannot be read: ${brief(reason(cause))}. Give its bytes.`, { cause });
  }
}

function copyOf(bytes: Uint8Array | ArrayBuffer): Uint8Array {
  return types.isUint8Array(bytes) ? bytes : new Uint8Array(bytes.slice(0));
}

/** @throws ConesError CONES_OPTION_INVALID for an address that is no file's */
function pathOf(source: string | URL): string {
  const text = typeof source === 'string' ? source : source.href;
  if (/^(?:https?|data|blob):/i.test(text)) {
    throw new ConesError('CONES_OPTION_INVALID', `${show(text)} is no file, and cones fetches nothing. Give the picture's bytes, such as await (await fetch(address)).blob().`);
  }
  if (typeof source === 'string' && !/^file:\/\//i.test(source)) return source;
  try {
    return fileURLToPath(text);
  } catch (cause) {
    throw new ConesError('CONES_OPTION_INVALID', `${show(text)} is not the address of a file here: ${brief(reason(cause))}. Give ${KINDS}.`, { cause });
  }
}

function isUrl(value: unknown): value is URL {
  return !types.isProxy(value) && Object.prototype.toString.call(value) === '[object URL]' && typeof (value as URL).href === 'string';
}

function isBytes(value: unknown): value is Uint8Array | ArrayBuffer {
  return types.isUint8Array(value) || types.isArrayBuffer(value);
}

function isBlob(value: unknown): value is Blob {
  if (typeof value !== 'object' || value === null || types.isProxy(value)) return false;
  const { size, arrayBuffer } = value as Partial<Blob>;
  return typeof size === 'number' && typeof arrayBuffer === 'function';
}
