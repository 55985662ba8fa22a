/**
 * The chunks of a PNG file (PNG specification, third edition, 5.3), as far as they are looked at before the decoder sees it: it
 * unpacks all texts of a file, whatever they take, only to learn its size.
 */
import { inflateSync } from 'node:zlib';

const SIGNATURE = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');
/** Length and type before the data, CRC behind it. */
const BEFORE = 8;
const AROUND = 12;

const TEXTS = ['tEXt', 'zTXt', 'iTXt'];
/** Colour profiles of printers have one or two. */
const MOST_PROFILE = 2 ** 22;
/** What other programs write into a picture, workflows for instance, has less; ours comes first. */
const MOST_TEXT = 2 ** 22;

interface Chunk {
  readonly type: string;
  readonly data: Buffer;
  /** All of it, length to CRC. */
  readonly whole: Buffer;
}

export function isPng(file: Buffer): boolean {
  return file.subarray(0, SIGNATURE.length).equals(SIGNATURE);
}

/** Up to the first one that the file does not hold entirely. */
function* chunksOf(png: Buffer): Generator<Chunk> {
  for (let at = SIGNATURE.length; at + AROUND <= png.length; ) {
    const length = png.readUInt32BE(at);
    const end = at + AROUND + length;
    if (end > png.length) return;
    yield { type: png.toString('latin1', at + 4, at + BEFORE), data: png.subarray(at + BEFORE, end - 4), whole: png.subarray(at, end) };
    at = end;
  }
}

/**
 * The file without its texts: what a decoder needs to see of it.
 * @throws Error for a colour profile that unpacks to more than any has
 */
export function withoutTexts(png: Buffer): Buffer {
  const kept: Buffer[] = [SIGNATURE];
  let seen = SIGNATURE.length;
  let dropped = 0;
  for (const { type, data, whole } of chunksOf(png)) {
    seen += whole.length;
    if (type === 'iCCP' && unpack(data.subarray(data.indexOf(0) + 2), MOST_PROFILE) === undefined) throw new Error('its colour profile is damaged or too long');
    if (TEXTS.includes(type)) dropped++;
    else kept.push(whole);
  }
  // Whatever follows is the decoder's to complain about.
  return dropped === 0 ? png : Buffer.concat([...kept, png.subarray(seen)]);
}

/** Keywords and texts, in the file's order; those beyond {@link MOST_TEXT} bytes are left out, as are damaged ones. */
export function readTexts(png: Buffer): [keyword: string, text: string][] {
  const texts: [string, string][] = [];
  let left = MOST_TEXT;
  for (const { type, data } of chunksOf(png)) {
    if (!TEXTS.includes(type)) continue;
    const { keyword, packed, bytes, encoding } = textChunk(type, data);
    const unpacked = packed ? unpack(bytes, left) : bytes;
    // Not the next one either: a file of many such would take as long as if all were read.
    if (unpacked === undefined || unpacked.length > left) break;
    left -= unpacked.length;
    texts.push([keyword, unpacked.toString(encoding)]);
  }
  return texts;
}

/** Keyword, NUL, then: the text (tEXt); compression method, packed text (zTXt); whether packed, method, language, NUL, translated keyword, NUL, text (iTXt). */
function textChunk(type: string, data: Buffer): { keyword: string; packed: boolean; bytes: Buffer; encoding: 'latin1' | 'utf8' } {
  const end = endOf(data, 0);
  const keyword = data.toString('latin1', 0, end);
  if (type === 'tEXt') return { keyword, packed: false, bytes: data.subarray(end + 1), encoding: 'latin1' };
  if (type === 'zTXt') return { keyword, packed: true, bytes: data.subarray(end + 2), encoding: 'latin1' };
  const text = endOf(data, endOf(data, end + 3) + 1) + 1;
  return { keyword, packed: data[end + 1] === 1, bytes: data.subarray(text), encoding: 'utf8' };
}

/** Where the NUL from `begin` on is; the data's end where there is none. */
function endOf(data: Buffer, begin: number): number {
  const at = data.indexOf(0, begin);
  return at < 0 ? data.length : at;
}

/** undefined where it is damaged or would take more than `most` bytes. */
function unpack(packed: Buffer, most: number): Buffer | undefined {
  if (most < 1) return undefined;
  try {
    return inflateSync(packed, { maxOutputLength: most });
  } catch {
    return undefined;
  }
}
