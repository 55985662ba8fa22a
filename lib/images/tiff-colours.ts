/** What libvips, which reads TIFF files without a word, gets wrong of their colours: found in the first page's tags (TIFF 6.0). */

const COMPRESSION = 259;
const PHOTOMETRIC = 262;
const SAMPLE_FORMAT = 339;
const YCBCR = 6;
const JPEG = 7;
const SIGNED = 2;
/** Each is there once. */
const MOST_TAGS = 2 ** 16;

/** What is wrong, with what to do; null where the colours are read as they are, or there is no TIFF to look at. */
export function tiffColourProblem(bytes: Buffer): string | null {
  const tags = firstTags(bytes);
  // In JPEG strips libtiff turns them into RGB.
  if (tags.get(PHOTOMETRIC) === YCBCR && tags.get(COMPRESSION) !== JPEG) {
    return 'its colours are YCbCr without JPEG compression, which would be read wrongly; save it as PNG, JPEG or an RGB TIFF';
  }
  if (tags.get(SAMPLE_FORMAT) === SIGNED) return 'its samples are signed numbers, which would be read wrongly; save it as PNG, JPEG or a TIFF of unsigned numbers';
  return null;
}

/** The first value of every tag that holds 16-bit numbers. */
function firstTags(bytes: Buffer): Map<number, number> {
  const tags = new Map<number, number>();
  const order = bytes.toString('latin1', 0, 2);
  if (order !== 'II' && order !== 'MM') return tags;
  const little = order === 'II';
  const inside = (at: number, length: number) => at >= 0 && at + length <= bytes.length;
  const u16 = (at: number) => (inside(at, 2) ? (little ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at)) : 0);
  const u32 = (at: number) => (inside(at, 4) ? (little ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at)) : 0);
  const u64 = (at: number) => (inside(at, 8) ? Number(little ? bytes.readBigUInt64LE(at) : bytes.readBigUInt64BE(at)) : 0);
  const big = u16(2) === 43; // BigTIFF has 64-bit offsets and counts
  const start = big ? u64(8) : u32(4);
  const [first, size, valueAt] = big ? [start + 8, 20, 12] : [start + 2, 12, 8];
  const count = Math.min(big ? u64(start) : u16(start), MOST_TAGS, bytes.length / size);
  for (let i = 0; i < count; i++) {
    const entry = first + i * size;
    if (u16(entry + 2) !== 3) continue;
    const length = big ? u64(entry + 4) : u32(entry + 4);
    const isInline = 2 * length <= size - valueAt;
    tags.set(u16(entry), u16(isInline ? entry + valueAt : big ? u64(entry + valueAt) : u32(entry + valueAt)));
  }
  return tags;
}
