/** Texts of an EXIF block (TIFF 6.0, Exif 2.3): sharp writes EXIF, but hands it back unparsed. */

const IMAGE_DESCRIPTION = 0x010e;
const EXIF_IFD = 0x8769;
const USER_COMMENT = 0x9286;
const ASCII = 2;
const LONG = 4;
const UNDEFINED = 7;

interface Tiff {
  readonly bytes: Buffer;
  u16(at: number): number;
  u32(at: number): number;
}

/** The ImageDescription, as bytes of Latin-1. null where there is none, or the block is damaged. */
export function readExifDescription(exif: Buffer): string | null {
  const tiff = openTiff(exif);
  const value = tiff && findValue(tiff, tiff.u32(4), IMAGE_DESCRIPTION, ASCII);
  if (!value) return null;
  let end = value.length;
  while (end > 0 && value[end - 1] === 0) end--;
  return value.toString('latin1', 0, end);
}

/** The UserComment. null where there is none, it is in no character code that is known, or the block is damaged. */
export function readExifComment(exif: Buffer): string | null {
  const tiff = openTiff(exif);
  const pointer = tiff && findValue(tiff, tiff.u32(4), EXIF_IFD, LONG);
  const value = pointer && findValue(tiff, tiff.u32(pointer.byteOffset - tiff.bytes.byteOffset), USER_COMMENT, UNDEFINED);
  if (!value) return null;
  const text = value.subarray(8);
  const code = value.toString('latin1', 0, 8);
  if (code === 'UNICODE\0') return decodeUtf16(text);
  return code === 'ASCII\0\0\0' ? text.toString('utf8') : null;
}

/** Exif does not say in which order the bytes are. Latin letters have their zeros first in one and last in the other. */
function decodeUtf16(text: Buffer): string {
  const even = text.subarray(0, text.length & ~1);
  let bigEndian = 0;
  for (let i = 0; i < even.length; i += 2) bigEndian += Number(even[i] === 0) - Number(even[i + 1] === 0);
  return (bigEndian >= 0 ? Buffer.from(even).swap16() : even).toString('utf16le');
}

function openTiff(exif: Buffer): Tiff | null {
  const bytes = exif.toString('latin1', 0, 6) === 'Exif\0\0' ? exif.subarray(6) : exif;
  const order = bytes.toString('latin1', 0, 2);
  if (bytes.length < 8 || (order !== 'II' && order !== 'MM')) return null;
  const little = order === 'II';
  return {
    bytes,
    u16: (at) => (little ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at)),
    u32: (at) => (little ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at)),
  };
}

/** Of the directory at `ifd`. */
function findValue({ bytes, u16, u32 }: Tiff, ifd: number, tag: number, type: number): Buffer | null {
  if (ifd + 2 > bytes.length) return null;
  const count = u16(ifd);
  for (let i = 0; i < count; i++) {
    const entry = ifd + 2 + i * 12;
    if (entry + 12 > bytes.length) return null;
    if (u16(entry) !== tag || u16(entry + 2) !== type) continue;
    const length = u32(entry + 4) * (type === LONG ? 4 : 1);
    const at = length <= 4 ? entry + 8 : u32(entry + 8);
    return at + length > bytes.length || (type === LONG && length < 4) ? null : bytes.subarray(at, at + length);
  }
  return null;
}
