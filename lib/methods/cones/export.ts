/** A concept for diffusers: the K-V weights with its neurons zeroed, as Custom Diffusion's files have them. */
import { setImmediate } from 'node:timers/promises';
import { z } from 'zod';
import type { Concept } from '../../concept';
import type { Session } from '../../engine/session';
import { conceptOption, parseOptions } from '../../util/options';
import type { FloatTensor } from '../../util/write-safetensors';
import { writeForDiffusers } from '../training/trained';

const schema = z.strictObject({ concept: conceptOption, folder: z.string().min(1) });

/**
 * Engine.exportConcept.
 * @throws ConesError CONES_OPTION_INVALID, CONES_CONCEPT_MISMATCH, CONES_IO, CONES_DISPOSED
 */
export async function exportConcept(session: Session, given: Concept, target: string): Promise<void> {
  const { concept, folder } = parseOptions('exportConcept', schema, { concept: given, folder: target });
  session.assertUsable();
  await session.mask(concept); // whether it fits this model
  const indices = concept.indicesFor(session.kvTensors.map(({ name }) => name));
  const weights = new Map<string, FloatTensor>();
  for (const [index, { name, shape }] of session.kvTensors.entries()) {
    const values = session.model.kvValues(index);
    for (const neuron of indices[index]!) values[neuron] = 0;
    weights.set(name, { shape, values });
    await setImmediate();
  }
  const learned = concept.subjects.flatMap(({ identifier, embedding }) => (embedding ? [[identifier, { shape: [1, embedding.values.length], values: embedding.values }] as const] : []));
  await writeForDiffusers(folder, new Map(learned), weights);
}
