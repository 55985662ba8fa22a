import { createHash } from 'node:crypto';
import { identifierKey, inNfc } from '../text/identifier-key';
import type { ConceptData } from './types';

/**
 * SHA-256 over what a concept draws: base model, subjects with their embeddings, and neurons, whatever the order of either. How they
 * were found does not count, nor do weights without neurons.
 */
export function conceptHash({ fingerprint, subjects, tensors }: ConceptData): string {
  const hash = createHash('sha256');
  const bytes = ({ buffer, byteOffset, byteLength }: Uint32Array | Float32Array) => hash.update(new Uint8Array(buffer, byteOffset, byteLength));
  // Lengths come before what they count, so that no two concepts make the same bytes.
  const put = (...values: (string | number)[]) => hash.update(`${JSON.stringify(values)}\n`);
  put('cones concept', fingerprint);
  const byIdentifier = subjects.map((subject) => ({ ...inNfc(subject), key: identifierKey(subject.identifier) })).sort((a, b) => (a.key < b.key ? -1 : 1));
  for (const { identifier, token, category, embedding } of byIdentifier) {
    put(identifier, token, category, embedding?.values.length ?? 0);
    if (embedding) bytes(embedding.values);
  }
  const used = [...tensors].filter(([, { indices }]) => indices.length > 0).sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [name, { shape, indices }] of used) {
    put(name, shape.join('x'), indices.length);
    bytes(indices);
  }
  return `sha256:${hash.digest('hex')}`;
}
