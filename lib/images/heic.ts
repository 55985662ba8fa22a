/** HEIC and AVIF are one container (ISO/IEC 23008-12); its first box names the codecs. */

const BRANDS = ['heic', 'heix', 'heim', 'heis', 'hevc', 'hevx', 'hevm', 'hevs'];

/** Whether a picture file is HEIC: HEVC inside, which is patented, so that sharp's own binaries do not decode it. */
export function isHeic(file: Buffer): boolean {
  if (file.length < 16 || file.toString('latin1', 4, 8) !== 'ftyp') return false;
  // Size, "ftyp", the major brand, a version, then the compatible brands.
  const end = Math.min(file.readUInt32BE(0), file.length, 256);
  for (let at = 8; at + 4 <= end; at += 4) {
    if (at !== 12 && BRANDS.includes(file.toString('latin1', at, at + 4))) return true;
  }
  return false;
}
