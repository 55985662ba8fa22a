/**
 * Where each subject is (MultiDiffusion, Bar-Tal et al. 2023; Mix-of-Show, Gu et al. 2023): inside of its region the UNet's output is that
 * of its own concept alone, and the outputs are blended at every position of the latents in every step.
 */
import { types } from 'node:util';
import { z } from 'zod';
import type { Concept, Subject } from '../concept';
import { ConesError } from '../errors';
import { withoutSubjects } from '../text/one-subject';
import { joinSubjects, withoutIdentifiers } from '../text/prompt';
import { identifierKey } from '../text/identifier-key';
import { placeByWords } from '../text/relations';
import { brief } from '../util/show';
import { boundsOf, type Bounds, placeWindows, type Size } from './windows';

/** `[x0, y0, x1, y1]` as fractions of the picture, from its upper left corner: `[0, 0, 0.5, 1]` is the left half. */
export type Box = readonly [x0: number, y0: number, x1: number, y1: number];

/** A mask of any size, which is stretched over the picture: how much of the region is in a pixel, row by row. */
export interface RegionBitmap {
  readonly width: number;
  readonly height: number;
  /** `[height, width]`: 0 … 255 in a Uint8Array, 0 … 1 in a Float32Array. */
  readonly data: Uint8Array | Float32Array;
}

/** Where a subject is: a box, several of them, or a bitmap. */
export type Region = Box | readonly Box[] | RegionBitmap;

/** By identifier (`V1*`), or 'auto': side by side, as the prompt's words say. */
export type Regions = Readonly<Record<string, Region>> | 'auto';

/** The width of a seam as a fraction of the picture's width and height. */
export const FEATHER = 0.1;

/** One picture's regions in one UNet call: a row each, two with guidance, of at most 16 in all. */
const MOST_REGIONS = 7;
const MOST_BOXES = 64;
const MOST_SIDE = 4096;
const MOST_ROWS = 16;

export const REGION_PROMPTS = ['alone', 'own', 'whole'] as const;
export type RegionPrompt = (typeof REGION_PROMPTS)[number];

/** Pictures of so many regions that go together. More rows at once gain nothing. */
export function picturesTogether(guided: boolean, regions: number): number {
  if (regions === 1) return Infinity;
  return Math.max(Math.floor(MOST_ROWS / ((guided ? 2 : 1) * regions)), 1);
}

const fraction = z.number().min(0).max(1);
const box = z
  .tuple([fraction, fraction, fraction, fraction], 'must be a box [x0, y0, x1, y1] of fractions of the picture')
  .refine(([x0, y0, x1, y1]) => x0 < x1 && y0 < y1, 'must be a box [x0, y0, x1, y1] with x0 < x1 and y0 < y1');
const side = z.int().min(1).max(MOST_SIDE);
const values = z.custom<Uint8Array | Float32Array>(
  (data) => types.isUint8Array(data) || (types.isFloat32Array(data) && data.every((value) => value >= 0 && value <= 1)),
  'must be a Uint8Array (0 … 255), or a Float32Array (0 … 1)',
);
const bitmap = z
  .strictObject({ width: side, height: side, data: values })
  .refine(({ width, height, data }) => data.length === width * height, 'must have width × height values in data');
const region = z.union([box, z.array(box).min(1).max(MOST_BOXES), bitmap], 'must be a box [x0, y0, x1, y1] of fractions of the picture with x0 < x1 and y0 < y1, a list of boxes, or a bitmap { width, height, data } of width × height values');
export const regionsOption = z
  .union([z.literal('auto'), z.record(z.string(), region)], "must be 'auto', or an object with a box, boxes or a bitmap for each identifier")
  .refine((regions) => regions === 'auto' || (Object.keys(regions).length > 0 && Object.keys(regions).length <= MOST_REGIONS), `must be 'auto', or have regions for 1 to ${MOST_REGIONS} identifiers`);

/** What of a picture is drawn by one row of the UNet: its concepts and texts, and its weight at every position of the latents. */
export interface PictureRow {
  readonly prompt: string;
  readonly negativePrompt: string;
  readonly concepts: readonly Concept[];
  /** Whose identifiers its texts may have. */
  readonly subjects: readonly Subject[];
  /** `[h, w]`; absent: 1 everywhere. */
  readonly weights?: Float32Array;
  /** What it sees of the latents; all rows of a picture have windows of one size. Absent: everything. */
  readonly window?: Bounds;
}

export interface Placing {
  readonly regions?: Regions | undefined;
  readonly feather: number;
  readonly regionPrompt: RegionPrompt;
  /** Sides of windows are multiples of it: the UNet's own factor between its first level and its last. Default 1. */
  readonly multiple?: number;
}

/** What is drawn of one prompt. */
interface Drawn {
  readonly prompt: string;
  readonly negativePrompt: string;
  readonly concepts: readonly Concept[];
}

/** Regions as a picture's file has them; none for a picture without. */
export type Placed = ReadonlyMap<Subject, readonly Box[] | RegionBitmap>;

/**
 * Where the subjects of a prompt are. 'auto' places those that the prompt names if they are two or more.
 * @throws ConesError CONES_OPTION_INVALID for an identifier that no concept has
 */
export function placeSubjects(regions: Regions | undefined, { prompt, concepts }: Drawn, latent: { height: number; width: number }): Placed {
  if (regions === undefined) return new Map();
  const subjects = joinSubjects(concepts);
  if (regions === 'auto') return new Map([...placeByWords(prompt, subjects, MOST_REGIONS)].map(([subject, place]) => [subject, [place]]));
  const byIdentifier = new Map(subjects.map((subject) => [identifierKey(subject.identifier), subject]));
  return new Map(
    Object.entries(regions).map(([identifier, given]) => {
      const subject = byIdentifier.get(identifierKey(identifier));
      if (subject === undefined) {
        const known = subjects.length === 0 ? 'there are none' : brief(subjects.map((one) => one.identifier).join(', '));
        throw new ConesError('CONES_OPTION_INVALID', `generate: the option regions: "${brief(identifier)}" is no identifier of the concepts (${known}). Name the subjects as prompts do.`);
      }
      return [subject, 'data' in given ? shrink(given, latent) : boxesOf(given)] as const;
    }),
  );
}

/**
 * The rows of a picture: one for each place, and one for what no region covers, where only concepts act that have no place.
 * One region everywhere is one row without weights: the plain picture.
 */
export function rowsOf(drawn: Drawn, placed: Placed, { feather, regionPrompt, multiple = 1 }: Placing, latent: Size): PictureRow[] {
  const { concepts } = drawn;
  const all = joinSubjects(concepts);
  if (placed.size === 0) return [{ ...drawn, subjects: all }];
  const key = ({ identifier }: Subject) => identifierKey(identifier);
  const places = new Set([...placed.keys()].map(key));
  const has = (concept: Concept, subject: Subject) => concept.subjects.some((one) => key(one) === key(subject));
  const everywhere = concepts.filter((concept) => !concept.subjects.some((subject) => places.has(key(subject))));

  const row = (subject: Subject | undefined): PictureRow => {
    const own = concepts.filter((concept) => everywhere.includes(concept) || (subject && has(concept, subject)));
    if (subject && regionPrompt === 'whole') return { ...drawn, concepts: own, subjects: all };
    const kept = all.filter((one) => own.some((concept) => has(concept, one)) && (!places.has(key(one)) || (subject && key(one) === key(subject))));
    const dropped = all.filter((one) => !kept.includes(one));
    const bare = (given: string) => withoutIdentifiers(given, all, dropped);
    // What is nothing but subjects is about them all the same.
    const text = (given: string) => (regionPrompt === 'alone' && withoutSubjects(given, all, dropped)) || bare(given);
    return { prompt: text(drawn.prompt), negativePrompt: text(drawn.negativePrompt), concepts: own, subjects: kept };
  };
  const planes = [...placed.values()].map((region) => soften(coverage(region, latent), latent, feather));
  const weights = normalise(planes);
  const seen = [...placed.keys(), undefined]
    .map((subject, i) => ({ subject, weights: weights[i]! }))
    .filter((one) => one.weights.some((value) => value > 0));
  if (seen.length === 1) return [row(seen[0]!.subject)];
  if (regionPrompt !== 'alone') return seen.map((one) => ({ ...row(one.subject), weights: one.weights }));
  // Each is a picture of its own; what is left over is drawn in as many such windows as it takes.
  const bounds = seen.filter(({ subject }) => subject).map((one) => boundsOf(one.weights, latent));
  const { windows, tiles } = placeWindows(bounds, { latent, multiple, most: MOST_REGIONS + 1, tiled: seen.length > bounds.length });
  return seen.flatMap(({ subject, weights: own }, i) => {
    if (subject) return [{ ...row(subject), weights: own, window: windows[i]! }];
    return shareOut(own, tiles, latent).map((part, tile) => ({ ...row(undefined), weights: part, window: tiles[tile]! }));
  });
}

function boxesOf(region: Box | readonly Box[]): readonly Box[] {
  return typeof region[0] === 'number' ? [region as Box] : (region as readonly Box[]);
}

/** A bitmap at the latents' size in 255ths: as a picture's file keeps it, so that it is the same when it is drawn again. */
function shrink({ width, height, data }: RegionBitmap, latent: { height: number; width: number }): RegionBitmap {
  const scale = types.isUint8Array(data) ? 1 : 255;
  const plane = new Float64Array(latent.height * latent.width);
  const columns = Array.from({ length: latent.width }, (_, x) => overlaps(x / latent.width, (x + 1) / latent.width, width));
  for (let y = 0; y < latent.height; y++) {
    const rows = overlaps(y / latent.height, (y + 1) / latent.height, height);
    for (let x = 0; x < latent.width; x++) {
      for (const [i, part] of rows) for (const [j, share] of columns[x]!) plane[y * latent.width + x]! += part * share * scale * data[i * width + j]!;
    }
  }
  return { ...latent, data: Uint8Array.from(plane, (value) => Math.min(Math.round(value), 255)) };
}

/** Which of `count` equal cells of [0, 1] the stretch from `from` to `to` lies in, each with its share of the stretch. */
function overlaps(from: number, to: number, count: number): [cell: number, share: number][] {
  const cells: [number, number][] = [];
  for (let i = Math.floor(from * count); i < count && i < to * count; i++) {
    const share = (Math.min(to, (i + 1) / count) - Math.max(from, i / count)) / (to - from);
    if (share > 0) cells.push([i, share]);
  }
  return cells;
}

/** How much of each position of the latents, `[h, w]`, a region covers: 0 … 1. */
function coverage(region: readonly Box[] | RegionBitmap, { height, width }: { height: number; width: number }): Float64Array {
  if ('data' in region) return Float64Array.from(region.data, (value) => value / 255);
  const plane = new Float64Array(height * width);
  const part = (cell: number, count: number, from: number, to: number) => Math.max(Math.min(cell + 1, to * count) - Math.max(cell, from * count), 0);
  for (const [x0, y0, x1, y1] of region) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) plane[y * width + x]! += part(y, height, y0, y1) * part(x, width, x0, x1);
    }
  }
  return plane.map((value) => Math.min(value, 1));
}

/** The mean over `feather` of the width and of the height: an edge becomes a ramp as wide. Beyond the picture all goes on as at its edge. */
function soften(plane: Float64Array, { height, width }: { height: number; width: number }, feather: number): Float64Array {
  const mean = (from: Float64Array, count: number, at: (line: number, i: number) => number, lines: number) => {
    const length = feather * count;
    const reach = Math.ceil(length / 2 - 0.5);
    if (reach <= 0) return from;
    const taps = Array.from({ length: 2 * reach + 1 }, (_, i) => (Math.min(i - reach + 0.5, length / 2) - Math.max(i - reach - 0.5, -length / 2)) / length);
    const to = new Float64Array(from.length);
    for (let line = 0; line < lines; line++) {
      for (let i = 0; i < count; i++) {
        taps.forEach((tap, k) => (to[at(line, i)]! += tap * from[at(line, Math.min(Math.max(i + k - reach, 0), count - 1))]!));
      }
    }
    return to;
  };
  const across = mean(plane, width, (y, x) => y * width + x, height);
  return mean(across, height, (x, y) => y * width + x, width);
}

/** Less than this is rounding. */
const NOTHING = 1e-6;

/** The planes' weights, and last that of what they leave over: at every position their sum is 1. */
function normalise(planes: readonly Float64Array[]): Float32Array[] {
  const size = planes[0]!.length;
  const weights = [...planes, null].map(() => new Float32Array(size));
  for (let i = 0; i < size; i++) {
    const own = planes.map((plane) => (plane[i]! < NOTHING ? 0 : plane[i]!));
    const sum = own.reduce((a, b) => a + b, 0);
    const rest = 1 - sum < NOTHING ? 0 : 1 - sum;
    [...own, rest].forEach((value, r) => (weights[r]![i] = value / (sum + rest)));
  }
  return weights;
}

/** A plane's weights as those of tiles, which have equal parts where they overlap. */
function shareOut(plane: Float32Array, tiles: readonly Bounds[], { width }: Size): Float32Array[] {
  const inside = ({ top, left, height, width: across }: Bounds, i: number) => {
    const [row, column] = [Math.floor(i / width) - top, (i % width) - left];
    return row >= 0 && row < height && column >= 0 && column < across;
  };
  return tiles.map((tile) => plane.map((value, i) => (inside(tile, i) ? value / tiles.filter((one) => inside(one, i)).length : 0)));
}

/** Far more than seven bitmaps of the largest latents take. */
const LONGEST_TEXT = 2 ** 22;

/** The same from a picture's file; undefined for what is no such text. */
export function readRegions(text: string): z.output<typeof regionsOption> | undefined {
  if (text.length > LONGEST_TEXT) return undefined;
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return undefined;
  }
  const bytes = z.object({ data: z.string() }).loose().transform((given) => ({ ...given, data: new Uint8Array(Buffer.from(given.data, 'base64')) }));
  const decoded = z.record(z.string(), z.union([bytes, z.array(z.unknown())])).safeParse(json);
  return decoded.success ? regionsOption.safeParse(decoded.data).data : undefined;
}

/** Regions as text for a picture's file: boxes, or a bitmap's bytes in base64. */
export function regionsText(placed: Placed): string {
  const plain = [...placed].map(([{ identifier }, region]) => [identifier, 'data' in region ? { ...region, data: Buffer.from(region.data).toString('base64') } : region]);
  return JSON.stringify(Object.fromEntries(plain));
}
