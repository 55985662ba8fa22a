/** The ImageDescription of an EXIF block (TIFF 6.0): sharp writes EXIF, but hands it back unparsed. */

const IMAGE_DESCRIPTION = 0x010e;
const ASCII = 2;

/** null where there is none, or the block is damaged. */
export function readExifDescription(exif: Buffer): string | null {
  const tiff = exif.toString('latin1', 0, 6) === 'Exif\0\0' ? exif.subarray(6) : exif;
  const order = tiff.toString('latin1', 0, 2);
  if (tiff.length < 8 || (order !== 'II' && order !== 'MM')) return null;
  const u16 = (at: number): number => (order === 'II' ? tiff.readUInt16LE(at) : tiff.readUInt16BE(at));
  const u32 = (at: number): number => (order === 'II' ? tiff.readUInt32LE(at) : tiff.readUInt32BE(at));

  const ifd = u32(4);
  if (ifd + 2 > tiff.length) return null;
  const count = u16(ifd);
  for (let i = 0; i < count; i++) {
    const entry = ifd + 2 + i * 12;
    if (entry + 12 > tiff.length) return null;
    if (u16(entry) !== IMAGE_DESCRIPTION || u16(entry + 2) !== ASCII) continue;
    const length = u32(entry + 4);
    const at = length <= 4 ? entry + 8 : u32(entry + 8);
    if (at + length > tiff.length) return null;
    let end = at + length;
    while (end > at && tiff[end - 1] === 0) end--;
    return tiff.toString('latin1', at, end);
  }
  return null;
}
