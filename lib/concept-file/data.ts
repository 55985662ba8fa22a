import { types } from 'node:util';
import { z } from 'zod';
import { ConesError } from '../errors';
import { jsonDepth } from '../util/json-text';
import { reading } from '../util/reading';
import { float16Bits, fromFloat16Bits } from './float16';
import { check, common, subjectsOf, totalWeights, weightsOf } from './header';
import { type ConceptData, type IdentifierEmbedding, type Json, LIMITS } from './types';

/** Checks what a program hands in to be a concept, so that every concept in memory can be saved and read back. */

const typedArray = {
  uint32: z.custom<Uint32Array>((value) => types.isUint32Array(value), 'must be a Uint32Array'),
  float32: z.custom<Float32Array>((value) => types.isFloat32Array(value), 'must be a Float32Array'),
};

const embedding = z.object({
  dtype: common.dtype,
  values: typedArray.float32
    .refine(({ length }) => length >= 1 && length <= LIMITS.embedding, `must have 1 to ${LIMITS.embedding} values`),
});

const tensor = z
  .object({ shape: common.shape, indices: typedArray.uint32 })
  .refine(({ shape, indices }) => ascendingBelow(indices, weightsOf(shape)), 'indices must ascend strictly and lie inside the weight');

const data = z.object({
  ...common.metadata,
  subjects: subjectsOf(z.object({ ...common.subject, embedding: embedding.optional() })),
  // A Map of another realm (Jest, node:vm) is one, too.
  tensors: z
    .preprocess((value) => (types.isMap(value) ? new Map(value) : value), z.map(common.text, tensor))
    .refine(({ size }) => size >= 1 && size <= LIMITS.tensors, `there must be 1 to ${LIMITS.tensors} weights`)
    .refine((map) => totalWeights.check([...map.values()]), totalWeights.message),
  report: z.unknown().optional(),
});

function ascendingBelow(indices: Uint32Array, weights: number): boolean {
  for (let i = 1; i < indices.length; i++) if (indices[i]! <= indices[i - 1]!) return false;
  return indices.length === 0 || indices[indices.length - 1]! < weights;
}

/**
 * A deep copy of `value`, frozen but for its typed arrays, as it would come back from a file.
 *
 * @throws ConesError `CONES_OPTION_INVALID`
 */
export function checkData(value: ConceptData): ConceptData {
  const result = reading('Concept.create', () => check(data, value));
  if ('problem' in result) throw new ConesError('CONES_OPTION_INVALID', `The concept cannot be made: ${result.problem}.`);
  const { subjects, tensors, report, ...metadata } = result.data;
  return {
    ...metadata,
    subjects: subjects.map(({ embedding, ...subject }) =>
      Object.freeze(embedding ? { ...subject, embedding: copyEmbedding(embedding) } : subject),
    ),
    tensors: new Map(
      [...tensors].map(([name, { shape, indices }]) => [name, { shape: Object.freeze([...shape]), indices: indices.slice() }]),
    ),
    ...(report === undefined ? {} : { report: copyReport(report) }),
  };
}

function copyEmbedding({ dtype, values }: IdentifierEmbedding): IdentifierEmbedding {
  const stored = Float32Array.from(values, dtype === 'float16' ? (value) => fromFloat16Bits(float16Bits(value)) : undefined);
  if (!stored.every(Number.isFinite)) {
    throw new ConesError('CONES_OPTION_INVALID', `An identifier's embedding has a value that is not finite as ${dtype}.`);
  }
  return Object.freeze({ dtype, values: stored });
}

function copyReport(report: unknown): { readonly [key: string]: Json } {
  let json: string | undefined;
  try {
    json = JSON.stringify(report);
  } catch (cause) {
    throw new ConesError('CONES_OPTION_INVALID', 'The report of a concept must be plain JSON: no cycles and no bigints.', { cause });
  }
  // The header around it is one level more.
  if (json?.[0] !== '{' || jsonDepth(json) >= LIMITS.jsonDepth) {
    throw new ConesError('CONES_OPTION_INVALID', `The report of a concept must be a JSON object nested less than ${LIMITS.jsonDepth} deep.`);
  }
  return freezeJson(JSON.parse(json) as { readonly [key: string]: Json });
}

/** Freezes JSON data all the way down. */
export function freezeJson<T extends Json>(value: T): T {
  if (typeof value === 'object' && value !== null) Object.values(value).forEach(freezeJson);
  return Object.freeze(value);
}
