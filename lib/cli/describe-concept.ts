import { z } from 'zod';
import type { ConceptInfo } from '../concept';
import { count, percent, table } from './table';

const losses = z.object({ subject: z.number(), prior: z.number() });
const beforeAndAfter = z.object({ untouched: z.number(), shut: z.number() });
const alignment = z.object({ image: beforeAndAfter, text: beforeAndAfter });

/** A report as the search writes it (SearchReport); one in a file may be anything. */
const searchReport = z.object({
  loss: z.object({ untouched: losses, union: losses.optional(), shut: losses, random: losses }),
  sweep: z.array(z.object({ density: z.number(), neurons: z.number(), subject: z.number(), prior: z.number() })),
  pictures: z
    .object({
      likeness: z.object({ identifier: beforeAndAfter, category: beforeAndAfter, other: beforeAndAfter }),
      alignment: z.object({ identifier: alignment, category: alignment, other: alignment }).nullish(),
      change: z.object({ category: z.number(), other: z.number() }),
      prompts: z.object({ identifier: z.string(), category: z.string(), other: z.string() }),
    })
    .nullable(),
  history: z.object({ step: z.array(z.number()).max(1024), subject: z.array(z.number()).max(1024), prior: z.array(z.number()).max(1024) }).optional().catch(undefined),
});

export type Described = z.output<typeof searchReport>;

/** A concept's report, where it is a search's. */
export function describedReport({ report }: ConceptInfo): Described | undefined {
  return report === null ? undefined : searchReport.safeParse(report).data;
}

/** A concept file in words and tables. */
export function describeConcept(file: string, info: ConceptInfo): string[] {
  const { subjects, neuronCount, weightCount, density, method, steps, engineVersion, device, precision, byteLength, fingerprint, hash } = info;
  return [
    `${file}: ${count(neuronCount)} concept neurons, ${percent(density)} of ${count(weightCount)} K-V weights, in ${count(byteLength)} bytes`,
    ...subjects.map(
      ({ identifier, category, token, embedding }) =>
        `  ${identifier} ${category} (token "${token}"${embedding ? `, learned embedding of ${embedding.length} ${embedding.dtype}` : ''})`,
    ),
    `  ${method}${steps ? `, ${count(steps)} steps` : ''}${device ? ` on ${device}` : ''}${precision ? ` in ${precision}` : ''}, cones ${engineVersion}`,
    `  hash ${hash}`,
    `  base model ${fingerprint}`,
    ...describeReport(info.report),
  ];
}

/** Neurons of every weight. */
export function describeLayers({ tensors }: ConceptInfo): string[] {
  const rows = tensors.map(({ name, shape, neuronCount, density }) => [name, shape.join(' x '), count(neuronCount), percent(density)]);
  return ['', ...table([['weight', 'shape', 'neurons', 'density'], ...rows])];
}

function describeReport(report: ConceptInfo['report']): string[] {
  if (report === null) return [];
  const parsed = searchReport.safeParse(report);
  if (!parsed.success) return ['', `report: ${JSON.stringify(report)}`];
  const { loss, sweep, pictures } = parsed.data;
  const row = (name: string, { subject, prior }: z.output<typeof losses>) => [name, subject.toFixed(4), prior.toFixed(4)];
  const lines = [
    '',
    ...table([
      ['loss on held-out noise', 'subject', 'prior'],
      row('untouched model', loss.untouched),
      ...(loss.union ? [row('union of the concepts zeroed', loss.union)] : []),
      row('concept neurons zeroed', loss.shut),
      row('as many random weights zeroed', loss.random),
    ]),
  ];
  if (sweep.length > 0) {
    const rows = sweep.map((entry) => [percent(entry.density), count(entry.neurons), entry.subject.toFixed(4), entry.prior.toFixed(4)]);
    lines.push('', ...table([['densities tried', 'neurons', 'subject', 'prior'], ...rows]));
  }
  if (pictures) lines.push(...describePictures(pictures));
  return lines;
}

function describePictures({ likeness, alignment, prompts, change }: NonNullable<z.output<typeof searchReport>['pictures']>): string[] {
  const names = ['identifier', 'category', 'other'] as const;
  const both = ({ untouched, shut }: z.output<typeof beforeAndAfter>) => [untouched.toFixed(3), shut.toFixed(3)];
  const colours = names.map((name) => [`"${prompts[name]}"`, ...both(likeness[name]), name === 'identifier' ? '' : change[name].toFixed(3)]);
  const lines = ['', ...table([["likeness to the subject's colours", 'untouched', 'masked', 'change of the picture'], ...colours])];
  if (alignment) {
    const rows = names.map((name) => [`"${prompts[name]}"`, ...both(alignment[name].image), ...both(alignment[name].text)]);
    lines.push('', ...table([['CLIP alignment', 'image, untouched', 'masked', 'text, untouched', 'masked'], ...rows]));
  }
  return lines;
}
