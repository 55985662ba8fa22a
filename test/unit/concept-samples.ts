import { createHash } from 'node:crypto';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { Concept, type ConceptData, type ConceptTensor } from '../../lib/concept';

/** A seeded generator of numbers in [0, 1). */
export function mulberry32(seed: number): () => number {
  const { imul } = Math;
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Every weight is a neuron with probability `density` ≤ 1, on its own. */
export function randomIndices(weights: number, density: number, random: () => number): Uint32Array {
  // Jest's realms make looking up globals slow.
  const { floor, log1p } = Math;
  const scale = log1p(-density);
  const indices: number[] = [];
  for (let at = -1; ; ) {
    at += 1 + floor(log1p(-random()) / scale);
    if (at >= weights) return Uint32Array.from(indices);
    indices.push(at);
  }
}

export function tensor(shape: number[], indices: Iterable<number>): ConceptTensor {
  return { shape, indices: Uint32Array.from(indices) };
}

export const cat: ConceptData = {
  fingerprint: 'sha256:base-a',
  subjects: [{ identifier: 'V1*', token: 'ktn', category: 'cat' }],
  method: 'algorithm-a2',
  steps: 300,
  engineVersion: '0.1.0',
  tensors: new Map([
    ['a.to_k.weight', tensor([8, 16], [0, 5, 6, 40, 127])],
    ['a.to_v.weight', tensor([8, 8], [])],
    ['b.to_k.weight', tensor([4, 4], [0, 1, 2, 3, 4, 6, 7, 8, 9, 11, 15])],
  ]),
};

export function conceptOf(changes: Partial<ConceptData> = {}): Concept {
  return Concept.create({ ...cat, ...changes });
}

/** The parts of a file, taken apart and put together by the specification and not by the library. */
export interface Parts {
  header: Record<string, unknown>;
  sections: Buffer;
}

export function takeApart(file: Buffer): Parts {
  const headerEnd = 20 + file.readUInt32LE(12);
  const header = JSON.parse(inflateRawSync(file.subarray(20, headerEnd)).toString()) as Record<string, unknown>;
  return { header, sections: Buffer.from(file.subarray(headerEnd, file.length - 16)) };
}

/** A file with a right checksum around any header: an object, or the bytes of the JSON. */
export function putTogether({ header, sections }: { header: unknown; sections: Uint8Array }): Buffer {
  const json = Buffer.isBuffer(header) ? header : Buffer.from(JSON.stringify(header));
  const compressed = deflateRawSync(json);
  const prefix = Buffer.from('894f4f4f4f4f0d0a010000000000000000000000', 'hex');
  prefix.write('CONES', 1, 'latin1');
  prefix.writeUInt32LE(compressed.length, 12);
  prefix.writeUInt32LE(sections.length, 16);
  return seal(Buffer.concat([prefix, compressed, sections]));
}

/** `body` and its checksum. */
export function seal(body: Buffer): Buffer {
  return Buffer.concat([body, createHash('sha256').update(body).digest().subarray(0, 16)]);
}

/** The error's code, or a failure when nothing was thrown. (Jest's realms make `instanceof` useless.) */
export function codeOf(work: () => unknown): { code: string | undefined; message: string } {
  try {
    work();
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    return { code, message };
  }
  throw new Error('nothing was thrown');
}
