/** What pictures are made from, at the size at which they are drawn: a picture, a mask, a depth map. As diffusers prepares them. */
import { createHash } from 'node:crypto';
import { types } from 'node:util';
import { z } from 'zod';
import { ConesError } from '../errors';
import { encodeImage, type ImageInput, loadImage, type Picture } from './images';
import { isImageInput } from './picture-source';

/** A picture: a file or its bytes, or one in memory, such as a `GeneratedImage`. */
export type EditPicture = ImageInput | Picture;

/** How far away things are, in any unit, `[height, width]`; larger is nearer, as MiDaS and DPT estimate it. */
export interface DepthMap {
  readonly width: number;
  readonly height: number;
  readonly data: Float32Array;
}

interface Size {
  readonly width: number;
  readonly height: number;
}

const MOST_SIDE = 16_384;

function isSized(value: unknown, perPixel: number, isArray: (data: unknown) => boolean): boolean {
  if (typeof value !== 'object' || value === null || types.isProxy(value)) return false;
  const { width, height, data } = value as Partial<Picture>;
  const sides = [width, height].every((side) => Number.isInteger(side) && side! >= 1 && side! <= MOST_SIDE);
  return sides && isArray(data) && data!.length === width! * height! * perPixel;
}

function isDepthMap(value: unknown): value is DepthMap {
  return isSized(value, 1, types.isFloat32Array);
}

const isPicture = (value: unknown): boolean => isImageInput(value) || isSized(value, 3, (data) => types.isFloat32Array(data) || types.isUint8Array(data));

export const editPictureOption = z.custom<EditPicture>(isPicture, 'must be a picture: the path of a file, its bytes, or { width, height, data }');
export const depthOption = z.custom<EditPicture | DepthMap>((value) => isPicture(value) || isDepthMap(value), 'must be { width, height, data: Float32Array }, or a picture whose brightness is the depth');

/** Pixels `[H, W, 3]` in [-1, 1], scaled to cover the size, and cropped. */
export async function loadPicture(picture: EditPicture, size: Size): Promise<Float32Array> {
  return loadImage(isImageInput(picture) ? picture : await encodeImage(picture, { format: 'png' }), size);
}

/** Names the very pixels. */
export function hashOf(values: Float32Array): string {
  return `sha256:${createHash('sha256').update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength)).digest('hex')}`;
}

/** Brightness from 0 to 255 of each pixel `[H, W]`, as Pillow has it (ITU-R 601). */
function brightness(pixels: Float32Array): Float32Array {
  const byte = (value: number) => Math.round((value + 1) * 127.5);
  return Float32Array.from({ length: pixels.length / 3 }, (_, i) => (byte(pixels[3 * i]!) * 19595 + byte(pixels[3 * i + 1]!) * 38470 + byte(pixels[3 * i + 2]!) * 7471 + 32768) >> 16);
}

/** A mask `[H, W]`: 1 where it is white, and pictures are painted anew; 0 where they are kept. */
export async function loadMask(mask: EditPicture, size: Size): Promise<Float32Array> {
  return brightness(await loadPicture(mask, size)).map((value) => (value / 255 >= 0.5 ? 1 : 0));
}

/** The mask of the latents, `[H / f, W / f]`: every f-th pixel, as PyTorch's nearest interpolation takes it. */
export function latentMask(mask: Float32Array, { width, height }: Size, downscale: number): Float32Array {
  const [columns, rows] = [width / downscale, height / downscale];
  return Float32Array.from({ length: rows * columns }, (_, i) => mask[Math.floor(i / columns) * downscale * width + (i % columns) * downscale]!);
}

/** The picture without what will be painted, which is grey. */
export function maskedPicture(pixels: Float32Array, mask: Float32Array): Float32Array {
  return pixels.map((value, i) => (mask[Math.floor(i / 3)] === 0 ? value : 0));
}

/**
 * A depth map of the latents' size, from -1 to 1.
 * @param size of the picture
 * @throws ConesError CONES_OPTION_INVALID where it is not finite, or the same everywhere
 */
export async function loadDepth(depth: EditPicture | DepthMap, size: Size, latent: Size): Promise<Float32Array> {
  const map = isDepthMap(depth) ? depth : { ...size, data: brightness(await loadPicture(depth, size)) };
  const values = bicubic(map, latent);
  const [least, most] = values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
  if (!Number.isFinite(most - least) || most === least) {
    throw new ConesError('CONES_OPTION_INVALID', 'generate: the option depth must hold finite numbers that are not all the same: give how near things are.');
  }
  return values.map((value) => (2 * (value - least)) / (most - least) - 1);
}

/** torch.nn.functional.interpolate(mode='bicubic', align_corners=False): no filter, also where it gets smaller. */
function bicubic({ width, height, data }: DepthMap, to: Size): Float32Array {
  const across = weights(width, to.width);
  const down = weights(height, to.height);
  const values = new Float32Array(to.width * to.height);
  for (let y = 0; y < to.height; y++) {
    for (let x = 0; x < to.width; x++) {
      let sum = 0;
      for (const [row, ofRow] of down[y]!) for (const [column, share] of across[x]!) sum += ofRow * share * data[row * width + column]!;
      values[y * to.width + x] = sum;
    }
  }
  return values;
}

/** Keys' kernel with a = -0.75 for each of `to` positions on `from` values: [index, weight], four of them. */
function weights(from: number, to: number): [number, number][][] {
  const a = -0.75;
  const kernel = (x: number): number => {
    const t = Math.abs(x);
    if (t <= 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
    return t < 2 ? ((a * t - 5 * a) * t + 8 * a) * t - 4 * a : 0;
  };
  return Array.from({ length: to }, (_, i) => {
    const at = ((i + 0.5) * from) / to - 0.5;
    const first = Math.floor(at);
    return [-1, 0, 1, 2].map((k): [number, number] => [Math.min(Math.max(first + k, 0), from - 1), kernel(at - first - k)]);
  });
}
