/**
 * The ZIP archives that torch.save writes: nothing is compressed, so every entry is a range of the file. Only the directory is read.
 * https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
 */
import { Problem } from './damaged';

/** Fills a buffer with the `length` bytes from `offset` on; throws a Problem where the file has fewer. */
export type ReadAt = (offset: number, length: number) => Promise<Buffer>;

export interface ZipEntry {
  readonly name: string;
  /** Of its header, in the file. */
  readonly header: number;
  readonly size: number;
  readonly crc: number;
  /** Where the next entry begins, or the directory. */
  readonly end: number;
}

/** The largest checkpoints have some thousands. */
const MOST_ENTRIES = 2 ** 16;
const MOST_DIRECTORY = 2 ** 24;
/** The end's record with the longest comment. */
const LONGEST_END = 22 + 0xffff;

const END = 0x06054b50;
const END64_LOCATOR = 0x07064b50;
const END64 = 0x06064b50;
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;

interface Directory {
  readonly entries: number;
  readonly size: number;
  readonly offset: number;
}

/** The entries by name, in the order of their headers. */
export async function readZip(read: ReadAt, fileSize: number): Promise<Map<string, ZipEntry>> {
  const directory = await findDirectory(read, fileSize);
  if (directory.entries > MOST_ENTRIES) throw new Problem(`its archive has ${directory.entries} entries`);
  if (directory.size > MOST_DIRECTORY) throw new Problem(`its archive has a directory of ${directory.size} bytes`);
  if (directory.offset + directory.size > fileSize) throw new Problem('the directory of its archive is not inside the file');
  const bytes = await read(directory.offset, directory.size);
  const entries: Omit<ZipEntry, 'end'>[] = [];
  for (let at = 0; entries.length < directory.entries; ) {
    const { entry, next } = readEntry(bytes, at);
    entries.push(entry);
    at = next;
  }
  return checked(entries, directory.offset);
}

/** Where the bytes of an entry begin; its own header must agree with the directory. */
export async function dataOffset(read: ReadAt, entry: ZipEntry): Promise<number> {
  const name = Buffer.from(entry.name, 'utf8');
  const header = await read(entry.header, 30 + name.length);
  const nameLength = header.readUInt16LE(26);
  const same = header.readUInt32LE(0) === LOCAL && header.readUInt16LE(8) === 0 && nameLength === name.length && header.subarray(30).equals(name);
  if (!same) throw new Problem(`the header of ${JSON.stringify(entry.name)} contradicts the archive's directory`);
  const begin = entry.header + 30 + nameLength + header.readUInt16LE(28);
  if (begin + entry.size > entry.end) throw new Problem(`${JSON.stringify(entry.name)} in it reaches into what comes next`);
  return begin;
}

async function findDirectory(read: ReadAt, fileSize: number): Promise<Directory> {
  const begin = Math.max(0, fileSize - LONGEST_END);
  const tail = await read(begin, fileSize - begin);
  let at = tail.length - 22;
  // The record says how long the comment behind it is, to the file's end.
  while (at >= 0 && !(tail.readUInt32LE(at) === END && at + 22 + tail.readUInt16LE(at + 20) === tail.length)) at--;
  if (at < 0) throw new Problem('the end of its archive is missing, as after a download that broke off');
  const small = { entries: tail.readUInt16LE(at + 10), size: tail.readUInt32LE(at + 12), offset: tail.readUInt32LE(at + 16) };
  const is64 = at >= 20 && tail.readUInt32LE(at - 20) === END64_LOCATOR;
  if (!is64) {
    if (tail.readUInt16LE(at + 4) !== 0 || tail.readUInt16LE(at + 8) !== small.entries) throw new Problem('its archive is in several files');
    return small;
  }
  const record = await read(wide(tail, at - 20 + 8), 56);
  if (record.readUInt32LE(0) !== END64) throw new Problem('the end of its archive contradicts itself');
  return { entries: wide(record, 32), size: wide(record, 40), offset: wide(record, 48) };
}

function readEntry(bytes: Buffer, at: number): { entry: Omit<ZipEntry, 'end'>; next: number } {
  if (at + 46 > bytes.length || bytes.readUInt32LE(at) !== CENTRAL) throw new Problem("its archive's directory is cut off");
  const [flags, method] = [bytes.readUInt16LE(at + 8), bytes.readUInt16LE(at + 10)];
  const [nameLength, extraLength, commentLength] = [28, 30, 32].map((offset) => bytes.readUInt16LE(at + offset)) as [number, number, number];
  const extra = at + 46 + nameLength;
  const next = extra + extraLength + commentLength;
  if (next > bytes.length) throw new Problem("its archive's directory is cut off");
  const name = bytes.toString('utf8', at + 46, extra);
  if ((flags & 1) !== 0) throw new Problem(`${JSON.stringify(name.slice(0, 100))} in it is encrypted`);
  if (method !== 0) throw new Problem(`${JSON.stringify(name.slice(0, 100))} in it is compressed, which torch.save never does`);
  const sizes = readSizes(bytes.subarray(extra, extra + extraLength), {
    size: bytes.readUInt32LE(at + 24),
    stored: bytes.readUInt32LE(at + 20),
    header: bytes.readUInt32LE(at + 42),
  });
  if (sizes.size !== sizes.stored) throw new Problem(`${JSON.stringify(name.slice(0, 100))} in it has two sizes`);
  return { entry: { name, header: sizes.header, size: sizes.size, crc: bytes.readUInt32LE(at + 16) }, next };
}

/** Numbers that 32 bits cannot hold are in an extra field, in this order. */
function readSizes(extra: Buffer, sizes: { size: number; stored: number; header: number }): typeof sizes {
  const result = { ...sizes };
  for (let at = 0; at + 4 <= extra.length; at += 4 + extra.readUInt16LE(at + 2)) {
    if (extra.readUInt16LE(at) !== 1) continue;
    const field = extra.subarray(at + 4, at + 4 + extra.readUInt16LE(at + 2));
    let next = 0;
    for (const key of ['size', 'stored', 'header'] as const) {
      if (sizes[key] !== 0xffffffff) continue;
      if (next + 8 > field.length) throw new Problem("its archive's directory is cut off");
      result[key] = wide(field, next);
      next += 8;
    }
    break;
  }
  return result;
}

/** Each entry ends before the next one begins, and all of them before the directory. */
function checked(entries: readonly Omit<ZipEntry, 'end'>[], directory: number): Map<string, ZipEntry> {
  const sorted = [...entries].sort((a, b) => a.header - b.header);
  const byName = new Map<string, ZipEntry>();
  sorted.forEach((entry, i) => {
    const end = sorted[i + 1]?.header ?? directory;
    if (entry.header + 30 + Buffer.byteLength(entry.name) + entry.size > end) throw new Problem(`${JSON.stringify(entry.name.slice(0, 100))} in it reaches into what comes next`);
    if (byName.has(entry.name)) throw new Problem(`it has two entries ${JSON.stringify(entry.name.slice(0, 100))}`);
    byName.set(entry.name, { ...entry, end });
  });
  return byName;
}

/** 64 bits, as far as JavaScript counts. */
function wide(bytes: Buffer, at: number): number {
  const value = bytes.readBigUInt64LE(at);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new Problem('its archive has a size beyond all disks');
  return Number(value);
}
