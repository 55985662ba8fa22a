import { z } from 'zod';
import { identifierKey } from '../text/identifier-key';
import { brief } from '../util/show';
import { MAX_DIVISOR } from './golomb';
import { malformed } from './malformed';
import { type Json, LIMITS } from './types';

/** The JSON header: its schema. */

/** Names end up in terminals and logs: nothing that moves the cursor or reorders text. Zod's own `max` counts code points. */
const printable = z
  .string()
  .regex(/^[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}]*$/u, 'control characters are not allowed')
  .refine(({ length }) => length <= LIMITS.text, `must have at most ${LIMITS.text} UTF-16 code units`);
const text = printable.min(1);
const count = (max: number) => z.int().min(0).max(max);
const dtype = z.enum(['float16', 'float32']);

const shape = z
  .array(z.int().min(1).max(LIMITS.tensorWeights))
  .min(1)
  .max(LIMITS.rank)
  .refine((dims) => weightsOf(dims) <= LIMITS.tensorWeights, `a weight has at most ${LIMITS.tensorWeights} elements`);

/** Parts that the header and the data in memory (data.ts) have in common. */
export const common = {
  printable,
  text,
  dtype,
  shape,
  subject: { identifier: text, token: text, category: text },
  metadata: { fingerprint: text, method: text, steps: count(Number.MAX_SAFE_INTEGER), engineVersion: text, device: text.optional(), precision: text.optional() },
};

export const subjectsOf = <T extends z.ZodType<{ identifier: string }>>(subject: T) =>
  z
    .array(subject)
    .min(1)
    .max(LIMITS.subjects)
    .refine((all) => unique(all.map(({ identifier }) => identifierKey(identifier))), 'identifiers must differ, in more than case');

export const totalWeights = {
  check: (all: readonly { shape: readonly number[] }[]) => all.reduce((sum, one) => sum + weightsOf(one.shape), 0) <= LIMITS.weights,
  message: `a concept has at most ${LIMITS.weights} weights`,
};

const tensor = z
  .object({ name: text, shape, count: count(LIMITS.tensorWeights), byteLength: count(LIMITS.tensorWeights / 8) })
  .and(
    z.discriminatedUnion('coding', [
      z.object({ coding: z.literal('golomb'), parameter: z.int().min(1).max(MAX_DIVISOR) }),
      z.object({ coding: z.literal('bitmap') }),
    ]),
  )
  .refine((entry) => entry.count <= weightsOf(entry.shape), 'a weight has no more neurons than elements');

const header = z.object({
  ...common.metadata,
  subjects: subjectsOf(
    z.object({
      ...common.subject,
      embedding: z.object({ dtype, length: z.int().min(1).max(LIMITS.embedding) }).optional(),
    }),
  ),
  tensors: z
    .array(tensor)
    .min(1)
    .max(LIMITS.tensors)
    .refine((all) => unique(all.map(({ name }) => name)), 'names must differ')
    .refine(totalWeights.check, totalWeights.message),
  // What JSON.parse returns is JSON: walking a long report once more would cost seconds.
  report: z.custom<{ readonly [key: string]: Json }>((value) => typeof value === 'object' && value !== null && !Array.isArray(value), 'must be an object').optional(),
});

export type Header = z.infer<typeof header>;
export type TensorEntry = Header['tensors'][number];

export function weightsOf(shape: readonly number[]): number {
  return shape.reduce((product, dim) => product * dim, 1);
}

function unique(values: readonly string[]): boolean {
  return new Set(values).size === values.length;
}

/** `value` as `schema` wants it, unknown keys dropped, or the first reason why it is not. */
export function check<T>(schema: z.ZodType<T>, value: unknown): { data: T } | { problem: string } {
  const result = schema.safeParse(value);
  if (result.success) return { data: result.data };
  const { path, message } = result.error.issues[0]!;
  return { problem: path.length ? `${brief(path.map(String).join('.'))}: ${brief(message)}` : brief(message) };
}

/** @throws ConesError `CONES_CONCEPT_CORRUPT` */
export function checkHeader(value: unknown): Header {
  const result = check(header, value);
  if ('problem' in result) throw malformed(`The header is invalid, ${result.problem}.`);
  return result.data;
}
