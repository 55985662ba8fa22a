import path from 'node:path';
import type { Command } from 'commander';
import { Concept } from '../concept';
import { readBeginning } from '../util/files';
import { readMetadata } from '../images/images';
import { addOutputFlags, type OutputFlags } from './arguments';
import { describeConcept, describeLayers } from './describe-concept';
import { type Io, printJson, printLines } from './io';
import { count, percent, table } from './table';

interface Flags extends OutputFlags {
  readonly layers?: boolean;
}

interface ConceptFile {
  readonly file: string;
  readonly kind: 'concept';
  readonly concept: Concept;
}

interface PictureFile {
  readonly file: string;
  readonly kind: 'picture';
  readonly metadata: Record<string, string>;
}

/** `cones inspect`: what is in concept files and generated pictures, and what concepts share. */
export function addInspect(program: Command, io: Io): void {
  const command = program
    .command('inspect')
    .description('Show what is in concept files, how far their neurons coincide, and how generated pictures were made.')
    .argument('<files...>', 'concept files and pictures')
    .option('--no-layers', 'leave out the table of weights');
  addOutputFlags(command);
  command.action((files: string[], flags: Flags) => inspect(files, flags, io));
}

async function inspect(paths: readonly string[], flags: Flags, io: Io): Promise<void> {
  const files = await Promise.all(paths.map(read));
  const concepts = files.filter((file): file is ConceptFile => file.kind === 'concept');
  const overlaps = concepts.flatMap((a, i) =>
    concepts.slice(i + 1).map((b) => ({ files: [a.file, b.file] as const, ...Concept.jaccard(a.concept, b.concept) })),
  );
  if (flags.json) {
    const described = files.map((entry) => {
      if (entry.kind === 'picture') return entry;
      return { file: entry.file, kind: entry.kind, ...entry.concept.info() };
    });
    printJson(io, { files: described, overlaps });
    return;
  }
  const blocks = [
    ...files.map((entry) => {
      if (entry.kind === 'picture') return describePicture(entry);
      const info = entry.concept.info();
      return [...describeConcept(entry.file, info), ...(flags.layers ? describeLayers(info) : [])];
    }),
    ...overlaps.map((overlap) => describeOverlap(overlap, flags)),
  ];
  printLines(io, blocks.flatMap((block, i) => (i === 0 ? block : ['', ...block])));
}

/** A file is what it begins with, whatever it is called; one that begins as neither is what it is called. */
async function read(file: string): Promise<ConceptFile | PictureFile> {
  const concept = path.extname(file) === '.cones' || (await beginsAsConcept(file));
  if (concept) return { file, kind: 'concept', concept: await Concept.load(file) };
  return { file, kind: 'picture', metadata: await readMetadata(file) };
}

async function beginsAsConcept(file: string): Promise<boolean> {
  const magic = Buffer.from('\x89CONES', 'latin1');
  try {
    return (await readBeginning(file, magic.length)).bytes.equals(magic);
  } catch {
    // Whoever reads it says what is wrong with it.
    return false;
  }
}

function describePicture({ file, metadata }: PictureFile): string[] {
  // stable-diffusion-webui's form of what our own pictures say anyway.
  const entries = Object.entries(metadata).filter(([key]) => key !== 'parameters' || metadata['engine'] === undefined);
  if (entries.length === 0) return [`${file}: says nothing about how it was made`];
  const width = Math.max(...entries.map(([key]) => key.length));
  return [`${file}:`, ...entries.map(([key, value]) => `  ${key.padEnd(width)}  ${value}`)];
}

function describeOverlap({ files, layers, ...total }: ReturnType<typeof Concept.jaccard> & { files: readonly [string, string] }, flags: Flags): string[] {
  const [a, b] = files;
  const row = (name: string, { neurons, shared, expectedShared, jaccard }: typeof total) => [
    name,
    ...neurons.map(count),
    count(shared),
    expectedShared.toFixed(1),
    percent(jaccard),
  ];
  const rows = flags.layers ? layers.map((layer) => row(layer.name, layer)) : [];
  return [
    `${a} and ${b}: ${count(total.shared)} shared neurons, ${percent(total.sharedFraction)} of all; Jaccard index ${percent(total.jaccard)}`,
    '',
    ...table([['weight', 'first', 'second', 'shared', 'by chance', 'Jaccard'], ...rows, row('all', total)]),
  ];
}
