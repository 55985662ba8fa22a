import { createHash } from 'node:crypto';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { ConesError } from '../errors';
import { bitmapLength, decodeBitmap, encodeBitmap } from './bitmap';
import { freezeJson } from './data';
import { float16Bits, fromFloat16Bits } from './float16';
import { decodeGolomb, encodeGolomb } from './golomb';
import { checkHeader, type Header, type TensorEntry, weightsOf } from './header';
import { jsonDepth } from '../util/json-text';
import { mistakenFor } from '../models/mistaken-file';
import { malformed } from './malformed';
import type { Pieces } from '../util/pieces';
import { type ConceptData, type ConceptTensor, type IdentifierEmbedding, LIMITS, type Subject } from './types';

/** The file around header and sections. docs/reference/concept-file.md specifies every byte. */

/**
 * As PNG's: the first byte is lost where only 7 bits pass, and CR LF where line ends are translated, so
 * that a file damaged in such a way is not mistaken for one.
 */
const MAGIC = Buffer.from('\x89CONES\r\n', 'latin1');
export const FORMAT_VERSION = 1;
/** Magic, version, header length, sections length. */
export const PREFIX_BYTES = 20;
const CHECKSUM_BYTES = 16;

/**
 * The first half of SHA-256. A CRC misses one damage in 2³² and is easily forged by accident when files are
 * edited; this one also names the content, and costs about a millisecond a megabyte at worst.
 */
function checksum(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest().subarray(0, CHECKSUM_BYTES);
}

/**
 * Data must have passed `checkData`. Also returns the header, which says how each weight was coded.
 *
 * @throws ConesError `CONES_OPTION_INVALID` when the report is too long
 */
export function* encodeConceptFile(data: ConceptData): Pieces<{ header: Header; bytes: Buffer }> {
  const sections: Uint8Array[] = [];
  const tensors: TensorEntry[] = [];
  for (const [name, { shape, indices }] of data.tensors) {
    const weights = weightsOf(shape);
    const golomb = encodeGolomb(indices, weights, bitmapLength(weights));
    const bytes = golomb?.bytes ?? encodeBitmap(indices, weights);
    sections.push(bytes);
    const entry = { name, shape: [...shape], count: indices.length, byteLength: bytes.length };
    tensors.push(golomb ? { ...entry, coding: 'golomb', parameter: golomb.divisor } : { ...entry, coding: 'bitmap' });
    yield;
  }
  const subjects = data.subjects.map(({ identifier, token, category, embedding }) => {
    if (!embedding) return { identifier, token, category };
    sections.push(encodeEmbedding(embedding));
    return { identifier, token, category, embedding: { dtype: embedding.dtype, length: embedding.values.length } };
  });
  const { fingerprint, method, steps, engineVersion, device, precision, report } = data;
  const header = { fingerprint, subjects, method, steps, engineVersion, device, precision, report, tensors } as Header;
  const json = Buffer.from(JSON.stringify(header));
  if (json.length > LIMITS.headerBytes) {
    const message = `The concept's names and report take ${json.length} bytes of JSON, but ${LIMITS.headerBytes} are allowed: shorten the report.`;
    throw new ConesError('CONES_OPTION_INVALID', message);
  }
  const compressed = deflateRawSync(json, { level: 9 });
  const prefix = Buffer.alloc(PREFIX_BYTES);
  MAGIC.copy(prefix);
  prefix.writeUInt32LE(FORMAT_VERSION, 8);
  prefix.writeUInt32LE(compressed.length, 12);
  prefix.writeUInt32LE(sections.reduce((sum, section) => sum + section.length, 0), 16);
  const body = Buffer.concat([prefix, compressed, ...sections]);
  return { header, bytes: Buffer.concat([body, checksum(body)]) };
}

/**
 * Reads a concept file, which may be hostile: everything is checked before anything is allocated for it, and
 * time and memory are bounded by the file's size (4 bytes an index, of which each takes at least a bit) and
 * by the header's limit.
 *
 * @throws ConesError `CONES_CONCEPT_CORRUPT`
 */
export function* decodeConceptFile(file: Uint8Array): Pieces<ConceptData> {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.byteLength);
  const { headerEnd, sectionsEnd } = readPrefix(bytes);
  if (!checksum(bytes.subarray(0, sectionsEnd)).equals(bytes.subarray(sectionsEnd))) {
    throw new ConesError('CONES_CONCEPT_CORRUPT', 'The checksum does not match: the file is damaged. Copy or download it again.');
  }
  const header = readHeader(bytes.subarray(PREFIX_BYTES, headerEnd));
  const embeddingBytes = header.subjects.reduce((sum, { embedding }) => sum + (embedding ? embeddingLength(embedding) : 0), 0);
  const claimed = header.tensors.reduce((sum, entry) => sum + entry.byteLength, embeddingBytes);
  if (claimed !== sectionsEnd - headerEnd) {
    throw malformed(`The header claims ${claimed} bytes of sections, but there are ${sectionsEnd - headerEnd}.`);
  }

  let at = headerEnd;
  const take = (length: number) => bytes.subarray(at, (at += length));
  const tensors = new Map<string, ConceptTensor>();
  for (const entry of header.tensors) {
    tensors.set(entry.name, { shape: Object.freeze(entry.shape), indices: decodeIndices(entry, take(entry.byteLength)) });
    yield;
  }
  const subjects = header.subjects.map(({ embedding, ...subject }): Subject => {
    if (!embedding) return Object.freeze(subject);
    return Object.freeze({ ...subject, embedding: decodeEmbedding(embedding.dtype, take(embeddingLength(embedding))) });
  });
  const { fingerprint, method, steps, engineVersion, device, precision, report } = header;
  const optional = { ...(device && { device }), ...(precision && { precision }), ...(report && { report: freezeJson(report) }) };
  return { fingerprint, subjects, method, steps, engineVersion, ...optional, tensors };
}

function readPrefix(bytes: Buffer): { headerEnd: number; sectionsEnd: number } {
  const corrupt = (message: string) => new ConesError('CONES_CONCEPT_CORRUPT', message);
  if (bytes.length < MAGIC.length || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) {
    const instead = mistakenFor(bytes) ?? 'it does not begin with the bytes of one. Give a file that cones has saved.';
    throw corrupt(`This is not a concept file: ${instead}`);
  }
  if (bytes.length < PREFIX_BYTES) throw corrupt(`The file breaks off after ${bytes.length} bytes. Copy or download it again.`);
  const version = bytes.readUInt32LE(8);
  if (version !== FORMAT_VERSION) {
    throw corrupt(`The file has format version ${version}, but this version of cones reads ${FORMAT_VERSION} only: update cones.`);
  }
  const headerEnd = PREFIX_BYTES + bytes.readUInt32LE(12);
  const sectionsEnd = headerEnd + bytes.readUInt32LE(16);
  const expected = sectionsEnd + CHECKSUM_BYTES;
  if (bytes.length < expected) throw corrupt(`The file breaks off after ${bytes.length} of ${expected} bytes. Copy or download it again.`);
  if (bytes.length > expected) throw corrupt(`${bytes.length - expected} bytes follow the end of the concept. Copy or download the file again.`);
  return { headerEnd, sectionsEnd };
}

function readHeader(compressed: Buffer): Header {
  let value: unknown;
  try {
    const { buffer: json, engine } = inflate(compressed);
    if (engine.bytesWritten < compressed.length) throw malformed(`${compressed.length - engine.bytesWritten} bytes follow the header's DEFLATE stream.`);
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(json);
    // Deeper data would be safe to parse, but not to walk.
    if (jsonDepth(text) > LIMITS.jsonDepth) throw malformed(`The header is nested more than ${LIMITS.jsonDepth} deep.`);
    value = JSON.parse(text);
  } catch (cause) {
    if (cause instanceof ConesError) throw cause;
    throw malformed('The header is not deflated UTF-8 JSON of an allowed length.', cause);
  }
  return checkHeader(value);
}

/** With `info`, which the types lack: how many bytes of `compressed` the stream had. */
function inflate(compressed: Buffer): { buffer: Buffer; engine: { bytesWritten: number } } {
  return inflateRawSync(compressed, { maxOutputLength: LIMITS.headerBytes, info: true }) as unknown as ReturnType<typeof inflate>;
}

function decodeIndices(entry: TensorEntry, bytes: Uint8Array): Uint32Array {
  const { name, count } = entry;
  const weights = weightsOf(entry.shape);
  const bitmap = bitmapLength(weights);
  if (entry.coding === 'bitmap') {
    if (bytes.length !== bitmap) throw malformed(`The bitmap of ${name} has ${bytes.length} bytes instead of ${bitmap}.`);
    return decodeBitmap(bytes, count, weights, name);
  }
  if (bytes.length >= bitmap) throw malformed(`The neurons of ${name} take ${bytes.length} bytes, where a bitmap would take ${bitmap}.`);
  return decodeGolomb(bytes, count, weights, entry.parameter, name);
}

function embeddingLength({ dtype, length }: { dtype: IdentifierEmbedding['dtype']; length: number }): number {
  return length * (dtype === 'float16' ? 2 : 4);
}

function encodeEmbedding({ dtype, values }: IdentifierEmbedding): Uint8Array {
  const bytes = Buffer.alloc(embeddingLength({ dtype, length: values.length }));
  values.forEach((value, i) => (dtype === 'float16' ? bytes.writeUInt16LE(float16Bits(value), 2 * i) : bytes.writeFloatLE(value, 4 * i)));
  return bytes;
}

function decodeEmbedding(dtype: IdentifierEmbedding['dtype'], bytes: Buffer): IdentifierEmbedding {
  const values = new Float32Array(bytes.length / (dtype === 'float16' ? 2 : 4));
  for (let i = 0; i < values.length; i++) {
    values[i] = dtype === 'float16' ? fromFloat16Bits(bytes.readUInt16LE(2 * i)) : bytes.readFloatLE(4 * i);
  }
  if (!values.every(Number.isFinite)) throw malformed("An identifier's embedding has a value that is not finite.");
  return Object.freeze({ dtype, values });
}

/** The length of the whole file, as its first PREFIX_BYTES tell it. */
export function fileLength(prefix: Buffer): number {
  return PREFIX_BYTES + prefix.readUInt32LE(12) + prefix.readUInt32LE(16) + CHECKSUM_BYTES;
}
