import path from 'node:path';
import type { Concept } from '../concept';
import type { PromptSyntax } from '../text/prompt-syntax';
import { metadataOf } from '../engine/picture-metadata';
import { nativeSize } from '../engine/pictures';
import { ConesError } from '../errors';
import { encodeImage, formatOf, type ImageFormat, makeGrid, type Picture } from '../images/images';
import { loadModelConfig } from '../models';
import { SAMPLER_NAMES, samplerByName } from '../diffusion/sampler-names';
import { reason } from '../util/show';
import type { GenerateFlags } from './generate';
import { assertWritable } from './io';

/** The flags that tell the files and sizes of pictures before they are drawn. */
export type Plan = Pick<
  GenerateFlags,
  'output' | 'grid' | 'columns' | 'negativePrompt' | 'promptSyntax' | 'count' | 'seed' | 'sampler' | 'steps' | 'guidance' | 'eta' | 'width' | 'height' | 'image' | 'mask' | 'depth' | 'strength' | 'imageGuidance' | 'posterior'
> & { readonly prompt: string; readonly concepts: readonly Concept[] };

/** White pixels between the pictures of a grid. */
export const GAP = 4;
/** What the engine takes in one call; it refuses more by itself. */
const MOST_PICTURES = 4096;
const MOST_SIDE = 8192;
/** 16,383 × 16,383, which sharp takes no more than, not even as input without a file. */
const MOST_PIXELS = 0x3fff ** 2;

/** The files of pictures: `output`, or with a number each. */
export function pictureFiles(output: string, count: number): string[] {
  if (count === 1) return [output];
  const { dir, name, ext } = path.parse(output);
  const digits = String(count).length;
  return Array.from({ length: count }, (_, i) => path.join(dir, `${name}-${String(i + 1).padStart(digits, '0')}${ext}`));
}

/**
 * Tries, before pictures are drawn, whatever could keep them from being saved.
 * @param model gives its folder, which knows the size of a picture; asked when everything else is right
 * @throws ConesError CONES_IO, CONES_OPTION_INVALID
 */
export async function assertSavable(plan: Plan, model: () => Promise<string>): Promise<void> {
  const { output, grid, columns } = plan;
  const format = formatOf(output);
  const count = valid(plan.count, MOST_PICTURES) ?? 1;
  await Promise.all((grid ? [output] : pictureFiles(output, count)).map(assertWritable));
  const metadata = longestMetadata(plan, count);
  const dot = { width: 1, height: 1, data: new Uint8Array(3) };
  await encodeImage(dot, { format, metadata });
  if (!grid) return;
  // Without gaps, dots side by side count columns and rows.
  const { width: across, height: down } = makeGrid(Array<Picture>(count).fill(dot), columns, 0);
  const size = await pictureSize(plan, model);
  if (size) await assertEncodable(across * (size.width + GAP) - GAP, down * (size.height + GAP) - GAP, format);
}

/** undefined for what the engine will refuse. */
function valid(value: number | undefined, most: number): number | undefined {
  return Number.isInteger(value) && value! >= 1 && value! <= most ? value : undefined;
}

async function pictureSize({ width, height }: Plan, model: () => Promise<string>): Promise<{ width: number; height: number } | undefined> {
  // The only part of a session that the size comes from; the weights are not needed.
  const own = nativeSize({ config: await loadModelConfig(await model()) });
  const size = { width: valid(width ?? own.width, MOST_SIDE), height: valid(height ?? own.height, MOST_SIDE) };
  return size.width && size.height ? { width: size.width, height: size.height } : undefined;
}

/** The encoder's own limits: of a side, shown by a line of that length, and of the area. */
async function assertEncodable(width: number, height: number, format: ImageFormat): Promise<void> {
  try {
    if (width * height > MOST_PIXELS) throw new Error(`it has more than ${MOST_PIXELS} pixels`);
    await encodeImage(line(width, 1), { format });
    await encodeImage(line(1, height), { format });
  } catch (cause) {
    // Not what encodeImage says of the line.
    const why = reason(cause instanceof ConesError ? cause.cause : cause);
    const message = `A grid of ${width} x ${height} pixels cannot be written as ${format}: ${why}. Draw fewer or smaller pictures, in other --columns, or write a PNG.`;
    throw new ConesError('CONES_OPTION_INVALID', message, { cause });
  }
}

function line(width: number, height: number): Picture {
  return { width, height, data: new Uint8Array(width * height * 3) };
}

const LONGEST_SAMPLER = SAMPLER_NAMES.reduce((a, b) => (a.length >= b.length ? a : b));

/** What the file will say about how it was made; what is not known yet is as long as it can become. */
export function longestMetadata(plan: Plan, count: number): Record<string, string> {
  const { prompt, concepts, grid, negativePrompt = '', sampler = LONGEST_SAMPLER, steps = 1000, guidance = 1000, eta } = plan;
  const { width = MOST_SIDE, height = MOST_SIDE } = plan;
  const first = firstSeed(plan.seed);
  const seeds = Array.from({ length: count }, (_, i) => BigInt.asUintN(64, first + BigInt(i)));
  const longest = seeds.reduce((a, b) => (a > b ? a : b));
  const ofModel = { model: `sha256:${'0'.repeat(64)}`, instructionSet: 'avx512', karras: true, device: 'cuda', precision: 'fp16' };
  const hash = `sha256:${'0'.repeat(64)}`;
  const from = plan.image === undefined ? {} : { hashes: { image: hash, ...(plan.mask === undefined ? {} : { mask: hash }), ...(plan.depth === undefined ? {} : { depth: hash }) } };
  const edit = { strength: plan.strength ?? 0.8, ...(plan.imageGuidance === undefined ? {} : { imageGuidance: plan.imageGuidance }), ...(plan.posterior === undefined ? {} : { posterior: plan.posterior }) };
  const promptSyntax: PromptSyntax = plan.promptSyntax === 'weighted' ? 'weighted' : 'plain';
  const settings = { ...edit, promptSyntax, sampler: samplerByName(sampler)?.sampler ?? LONGEST_SAMPLER, steps, guidance, eta, width, height, ...ofModel };
  const metadata = metadataOf(settings, { prompt, negativePrompt, concepts, seed: longest, ...from });
  // The longer word, though true is what makes A1111's text longer.
  if (metadata['useKarrasSigmas'] !== undefined) metadata['useKarrasSigmas'] = 'false';
  return { ...metadata, ...(grid ? { seed: seeds.join(', ') } : {}) };
}

/** Random seeds have 32 bits; the engine refuses what is no seed. */
function firstSeed(seed: number | bigint | undefined): bigint {
  return typeof seed === 'bigint' ? seed : BigInt(Number.isSafeInteger(seed) ? seed! : 2 ** 32 - 1);
}
