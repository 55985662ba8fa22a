/**
 * Drawing from a picture: image to image (SDEdit, arXiv 2108.01073), inpainting, depth, instructions (InstructPix2Pix, arXiv 2211.09800).
 * As diffusers' pipelines: StableDiffusionImg2ImgPipeline, …InpaintPipeline, …Depth2ImgPipeline and …InstructPix2PixPipeline.
 */
import { z } from 'zod';
import { ConesError } from '../errors';
import { native } from '../native';
import { depthOption, type DepthMap, type EditPicture, editPictureOption, hashOf, latentMask, loadDepth, loadMask, loadPicture, maskedPicture } from '../images/edit-inputs';
import { type Conditions, conditionsOf } from '../models/conditions';
import { encodePixels, type Moments } from './pictures';
import { assertNotAborted, type Session } from './session';

export interface EditOptions {
  /**
   * A picture to start from: a file, its bytes, or one in memory such as a `GeneratedImage`; scaled to cover the size, and cropped. For all
   * pictures, or one per prompt when `prompt` is a list of the same length.
   */
  readonly image?: EditPicture | readonly EditPicture[];
  /**
   * How much of the picture's way to noise is gone, and drawn back: of 50 steps, 0.8 takes the last 40. 1 keeps next to nothing of it.
   * Default 0.8, with `mask` 1.
   */
  readonly strength?: number;
  /** What to paint anew (white), and what to keep (black), of the picture: as `image`. A model for inpainting needs one. */
  readonly mask?: EditPicture | readonly EditPicture[];
  /** For models with depth: how near things are. As `image`, or `{ width, height, data: Float32Array }`, near is large. */
  readonly depth?: EditPicture | DepthMap | readonly (EditPicture | DepthMap)[];
  /** For models that follow instructions (InstructPix2Pix): how closely they keep to the picture, 0 … 1000. Below 1 there is no guidance at all. Default 1.5. */
  readonly imageGuidance?: number;
  /** Which of the latents that the autoencoder thinks possible: the likeliest, or one by the seed, as diffusers takes it. Default 'mode'. */
  readonly posterior?: 'mode' | 'sample';
}

const perPrompt = <T extends z.ZodType>(one: T) => z.union([one, z.array(one).min(1).max(4096)]);

export const editOptions = {
  image: perPrompt(editPictureOption).optional(),
  strength: z.number().min(0).max(1).optional(),
  mask: perPrompt(editPictureOption).optional(),
  depth: perPrompt(depthOption).optional(),
  imageGuidance: z.number().min(0).max(1000).optional(),
  posterior: z.enum(['mode', 'sample']).optional(),
};

const NAMES = ['image', 'strength', 'mask', 'depth', 'imageGuidance', 'posterior'] as const;
type EditName = (typeof NAMES)[number];

/** Options that each kind of model wants, and takes. */
const WANTED: Readonly<Record<Conditions, readonly EditName[]>> = { none: [], depth: ['image', 'depth'], picture: ['image'], inpainting: ['image', 'mask'] };
const TAKEN: Readonly<Record<Conditions, readonly EditName[]>> = {
  none: ['image', 'strength', 'mask', 'posterior'],
  depth: ['image', 'strength', 'depth', 'posterior'],
  picture: ['image', 'imageGuidance'],
  inpainting: ['image', 'strength', 'mask', 'posterior'],
};
const CALLED: Readonly<Record<Conditions, string>> = { none: 'a text-to-image model', depth: 'a model with depth', picture: 'a model that follows instructions', inpainting: 'a model for inpainting' };

/** What a call draws from, checked. */
export interface Edit {
  readonly conditions: Conditions;
  /** Steps that are left out. */
  readonly start: number;
  /** Whether latents begin as the noised picture. */
  readonly begins: boolean;
  /** Whether what the mask keeps is put back after every step. */
  readonly known: boolean;
  readonly strength?: number;
  readonly imageGuidance?: number;
  readonly posterior: 'mode' | 'sample';
  readonly of: (prompt: number) => Inputs;
}

/** A prompt's. */
interface Inputs {
  readonly image: EditPicture;
  readonly mask?: EditPicture;
  readonly depth?: EditPicture | DepthMap;
}

type Given = { readonly [Name in EditName]?: EditOptions[Name] | undefined } & { readonly steps: number };

/**
 * What the options of a call ask for; undefined: a drawing from a text alone.
 * @throws ConesError CONES_OPTION_INVALID
 */
export function editOf(session: Session, given: Given, prompts: number): Edit | undefined {
  const conditions = conditionsOf(session.config) ?? 'none';
  const missing = WANTED[conditions].find((name) => given[name] === undefined);
  if (missing !== undefined) throw invalid(`the option ${missing} is missing: this is ${CALLED[conditions]}, which draws from ${WANTED[conditions].join(' and ')}`);
  const other = NAMES.find((name) => given[name] !== undefined && !TAKEN[conditions].includes(name));
  if (other !== undefined) throw invalid(`the option ${other} is not for ${CALLED[conditions]}; leave it out`);
  if (given.image === undefined) {
    const without = NAMES.find((name) => given[name] !== undefined);
    if (without !== undefined) throw invalid(`the option ${without} goes with image: give a picture to start from`);
    return undefined;
  }
  const { steps, mask } = given;
  const strength = given.strength ?? (mask === undefined ? 0.8 : 1);
  const start = conditions === 'picture' ? 0 : steps - Math.min(Math.floor(steps * strength), steps);
  if (start === steps) throw invalid(`a strength of ${strength} leaves none of ${steps} steps: give ${(Math.ceil(1e4 / steps) / 1e4).toString()} or more, or more steps`);
  const rows = { image: listOf('image', given.image, prompts), mask: listOf('mask', mask, prompts), depth: listOf('depth', given.depth, prompts) };
  return {
    conditions,
    start,
    // As diffusers: with a mask, the strongest begins with noise alone.
    begins: conditions !== 'picture' && !(mask !== undefined && strength === 1),
    known: conditions === 'none' && mask !== undefined,
    ...(conditions === 'picture' ? { imageGuidance: given.imageGuidance ?? 1.5 } : { strength }),
    posterior: given.posterior ?? 'mode',
    of: (prompt) => ({ image: rows.image![prompt]!, ...(rows.mask ? { mask: rows.mask[prompt]! } : {}), ...(rows.depth ? { depth: rows.depth[prompt]! } : {}) }),
  };
}

function listOf<T>(name: EditName, given: T | readonly T[] | undefined, prompts: number): readonly T[] | undefined {
  if (given === undefined) return undefined;
  if (!Array.isArray(given)) return new Array<T>(prompts).fill(given as T);
  const list = given as readonly T[];
  if (list.length !== prompts) throw invalid(`the option ${name} has ${list.length} pictures for ${prompts} prompts; give one for all, or one per prompt`);
  return list;
}

/** One prompt's, as its pictures need it. */
export interface Prepared {
  /** What of it to write into the pictures' files: `image`, `mask` and `depth` by the hash of what was drawn from. */
  readonly hashes: { readonly image: string; readonly mask?: string; readonly depth?: string };
  readonly image: Moments;
  /** [h, w] */
  readonly mask?: Float32Array;
  /** Of what the mask leaves. */
  readonly masked?: Moments;
  /** [h, w] */
  readonly depth?: Float32Array;
}

/** Where the noise of posteriors lies in a seed's stream: far behind that of all steps. */
const POSTERIOR = 2 ** 44;

interface Sizes {
  readonly size: { readonly width: number; readonly height: number };
  readonly latent: { readonly width: number; readonly height: number };
}

interface Loaded {
  readonly hashes: Prepared['hashes'];
  readonly pixels: Float32Array;
  /** [H, W] */
  readonly mask?: Float32Array;
  readonly depth?: Float32Array;
}

async function load({ image, mask: given, depth: map }: Inputs, size: Sizes['size'], latent: Sizes['latent']): Promise<Loaded> {
  const pixels = await loadPicture(image, size);
  const mask = given === undefined ? undefined : await loadMask(given, size);
  const depth = map === undefined ? undefined : await loadDepth(map, size, latent);
  return {
    hashes: { image: hashOf(pixels), ...(mask ? { mask: hashOf(mask) } : {}), ...(depth ? { depth: hashOf(depth) } : {}) },
    pixels,
    ...(mask ? { mask } : {}),
    ...(depth ? { depth } : {}),
  };
}

/** The hashes that a picture's file says, of these inputs at this size. */
export async function hashInputs(inputs: Inputs, size: Sizes['size'], latent: Sizes['latent']): Promise<Prepared['hashes']> {
  return (await load(inputs, size, latent)).hashes;
}

/** Reads and encodes what a prompt's pictures are drawn from. */
export async function prepare(session: Session, edit: Edit, prompt: number, { size, latent }: Sizes, signal: AbortSignal | undefined): Promise<Prepared> {
  assertNotAborted(signal);
  const { hashes, pixels, mask, depth } = await load(edit.of(prompt), size, latent);
  const encode = (values: Float32Array) => encodePixels(session, values, [1, size.height, size.width], signal);
  return {
    hashes,
    image: await encode(pixels),
    ...(mask ? { mask: latentMask(mask, size, session.config.vae.downscale) } : {}),
    ...(mask && edit.conditions === 'inpainting' ? { masked: await encode(maskedPicture(pixels, mask)) } : {}),
    ...(depth ? { depth } : {}),
  };
}

/** Latents of a posterior [1, 2C, h, w], as the UNet has them. `offset`: of the noise. */
function latentsOf(session: Session, { data }: Moments, edit: Edit, seed: bigint, offset: number): Float32Array {
  const half = data.length / 2;
  const noise = edit.posterior === 'sample' ? native().randomNormal(seed, offset, half) : undefined;
  // Instructions are followed with the unscaled ones, of which the UNet was told in training.
  const scale = edit.conditions === 'picture' ? 1 : session.config.vae.scalingFactor;
  return Float32Array.from({ length: half }, (_, i) => {
    const spread = noise ? Math.exp(0.5 * Math.min(Math.max(data[half + i]!, -30), 20)) * noise[i]! : 0;
    return scale * (data[i]! + spread);
  });
}

/** What a picture's sampling is given. */
export interface EditedRow {
  /** [C, h, w] */
  readonly image: Float32Array;
  readonly mask?: Float32Array;
  /** [X, h, w] */
  readonly conditions?: Float32Array;
}

export function editedRow(session: Session, edit: Edit, prepared: Prepared, seed: bigint): EditedRow {
  const { mask, masked, depth } = prepared;
  const image = latentsOf(session, prepared.image, edit, seed, POSTERIOR);
  const beside = {
    none: () => undefined,
    depth: () => depth!,
    picture: () => image,
    inpainting: () => joined(mask!, latentsOf(session, masked!, edit, seed, POSTERIOR + image.length)),
  }[edit.conditions]();
  return { image, ...(mask ? { mask } : {}), ...(beside ? { conditions: beside } : {}) };
}

/** All rows' in one array. */
export function joined(...parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function invalid(problem: string): ConesError {
  return new ConesError('CONES_OPTION_INVALID', `generate: ${problem}.`);
}
