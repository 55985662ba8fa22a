import { crc32 } from 'node:zlib';
import { ConesError } from '../errors';
import { show } from '../util/show';

/** Text in PNG files (PNG specification, third edition, 11.3.3): sharp reads it, but writes none. */

/** The signature, and the IHDR chunk, which must come first: length, type, data, CRC. */
const AFTER_IHDR = 8 + 4 + 4 + 13 + 4;

/** A NUL would end the text for other readers, and PNG allows none; half a surrogate pair becomes the same. */
const REPLACEMENT = '\ufffd';

/**
 * Inserts one iTXt chunk (UTF-8, not compressed) per entry after the header of a PNG file.
 * @throws ConesError CONES_OPTION_INVALID for a keyword that PNG does not allow.
 */
export function addPngText(png: Buffer, entries: Readonly<Record<string, string>>): Buffer {
  const chunks = Object.entries(entries).map(([keyword, text]) => {
    if (!/^[\x21-\x7e](?:[\x20-\x7e]{0,77}[\x21-\x7e])?$/.test(keyword)) {
      throw new ConesError(
        'CONES_OPTION_INVALID',
        `The metadata key ${show(keyword)} must be 1 to 79 printable ASCII characters, no space at its ends.`,
      );
    }
    // Keyword, end, not compressed, compression method, no language, no translated keyword, text.
    return chunk('iTXt', Buffer.concat([Buffer.from(`${keyword}\0\0\0\0\0`, 'latin1'), Buffer.from(text.replaceAll('\0', REPLACEMENT), 'utf8')]));
  });
  return Buffer.concat([png.subarray(0, AFTER_IHDR), ...chunks, png.subarray(AFTER_IHDR)]);
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const ends = Buffer.alloc(8);
  ends.writeUInt32BE(data.length, 0);
  ends.writeUInt32BE(crc32(body), 4);
  return Buffer.concat([ends.subarray(0, 4), body, ends.subarray(4)]);
}
