import { z } from 'zod';
import { ConesError } from '../errors';
import { type ImageInput, loadImage } from '../images/images';
import { imageOption, parseOptions, signalOption } from '../util/options';
import { ownOptions } from '../util/reading';
import { type Latents, latentsOption, pixelsOption, requireLength } from './tensors';
import { assertNotAborted, type Session } from './session';

/** The autoencoder's posterior for pictures: mean, then log-variance along the channels, `[B, 2C, h, w]`. Not scaled. */
export interface Moments {
  readonly data: Float32Array;
  readonly shape: readonly [batch: number, channels: number, height: number, width: number];
}

/** A side of the model's own pictures in pixels, when its config tells. */
export function nativeSize(session: Pick<Session, 'config'>): { height: number; width: number } {
  const { sampleSize } = session.config.unet;
  const { downscale } = session.config.vae;
  const [height, width] = sampleSize ?? [64, 64];
  return { height: height * downscale, width: width * downscale };
}

/**
 * Size of the latents of pictures of this size.
 * @throws ConesError CONES_OPTION_INVALID unless both sides are multiples of the autoencoder's factor
 */
export function latentSize(session: Session, height: number, width: number): { height: number; width: number } {
  const { downscale } = session.config.vae;
  for (const [name, side] of Object.entries({ height, width })) {
    if (!Number.isInteger(side) || side < downscale || side % downscale !== 0 || side > 8192) {
      throw new ConesError('CONES_OPTION_INVALID', `${name} is ${side}; it must be a multiple of ${downscale} up to 8192.`);
    }
  }
  return { height: height / downscale, width: width / downscale };
}

/**
 * Pixels of picture files that are in memory at once, one picture's at least: they take far more memory than moments. Small
 * pictures go to the encoder as a group, which takes several in a pass.
 */
const MOST_PIXELS = 2 ** 18;

/** How many of `count` picture files of one size are encoded as a group. */
export function encodeGroup(count: number, { height, width }: { height: number; width: number }): number {
  return Math.min(count, Math.max(1, Math.floor(MOST_PIXELS / (height * width))));
}

/**
 * Encodes picture files or buffers, centre-cropped to the given size (default: the model's own).
 * @throws ConesError CONES_IMAGE_INVALID, CONES_IO, CONES_IMAGES_MISSING
 */
export async function encodeImages(
  session: Session,
  images: readonly ImageInput[],
  size: { height: number; width: number } = nativeSize(session),
  signal?: AbortSignal,
): Promise<Moments> {
  if (images.length === 0) throw new ConesError('CONES_IMAGES_MISSING', 'No pictures were given; three to five of the subject work best.');
  const latent = latentSize(session, size.height, size.width);
  const channels = 2 * session.config.vae.latentChannels;
  const each = channels * latent.height * latent.width;
  const data = new Float32Array(images.length * each);
  const group = encodeGroup(images.length, size);
  for (let first = 0; first < images.length; first += group) {
    const some = images.slice(first, first + group);
    const pixels = new Float32Array(some.length * size.height * size.width * 3);
    for (const [i, image] of some.entries()) {
      assertNotAborted(signal);
      pixels.set(await loadImage(image, size), (i * pixels.length) / some.length);
    }
    const { data: moments } = await encodePixels(session, pixels, [some.length, size.height, size.width], signal);
    data.set(moments, first * each);
  }
  return { data, shape: [images.length, channels, latent.height, latent.width] };
}

/** Pixels `[B, H, W, 3]` in [-1, 1]. */
export interface Pixels {
  readonly data: Float32Array;
  readonly shape: readonly [batch: number, height: number, width: number, channels: 3];
}

export interface EncodeImageOptions {
  /** Size to which picture files are scaled and cropped: both or none. Default: the model's own. */
  readonly width?: number;
  readonly height?: number;
  readonly signal?: AbortSignal;
}

const encodeSchema = z.strictObject({
  images: z.union([z.array(imageOption), pixelsOption], 'must be a list of pictures, or pixels { data: Float32Array, shape: [B, H, W, 3] }'),
  width: z.int().min(1).optional(),
  height: z.int().min(1).optional(),
  signal: signalOption,
});

/**
 * Engine.encodeImage: picture files, or pixels as they are.
 * @throws ConesError CONES_OPTION_INVALID, CONES_IMAGE_INVALID, CONES_IO, CONES_IMAGES_MISSING
 */
export async function encodeImage(session: Session, input: readonly ImageInput[] | Pixels, options: EncodeImageOptions = {}): Promise<Moments> {
  const { images, width, height, signal } = parseOptions('encodeImage', encodeSchema, ownOptions('encodeImage', options, { images: input }));
  session.assertUsable();
  if (Array.isArray(images)) session.assertPathsAllowed('encodeImage', { images });
  if ((width === undefined) !== (height === undefined)) {
    throw new ConesError('CONES_OPTION_INVALID', 'encodeImage: give both width and height, or neither.');
  }
  if (Array.isArray(images)) return encodeImages(session, images, width && height ? { width, height } : undefined, signal);
  const [batch, rows, columns, channels] = images.shape;
  if (channels !== 3) throw new ConesError('CONES_OPTION_INVALID', `encodeImage: pixels are [B, H, W, 3]; got ${channels} channels.`);
  if (width !== undefined) throw new ConesError('CONES_OPTION_INVALID', 'encodeImage: pixels have their own size; leave out width and height.');
  return encodePixels(session, images.data, [batch, rows, columns], signal);
}

/** Encodes pixels `[B, H, W, 3]` in [-1, 1]. */
export async function encodePixels(
  session: Session,
  pixels: Float32Array,
  [batch, height, width]: readonly [number, number, number],
  signal: AbortSignal | undefined,
): Promise<Moments> {
  const latent = latentSize(session, height, width);
  requireLength('pixels', pixels, batch * height * width * 3);
  const data = await session.job(signal, (abort) => session.model.encodeImages(pixels, batch, height, width, { abort }));
  return { data, shape: [batch, 2 * session.config.vae.latentChannels, latent.height, latent.width] };
}

const decodeSchema = z.strictObject({ latents: latentsOption, signal: signalOption });

/**
 * Engine.decode: checks what {@link decodeLatents} takes.
 * @throws ConesError CONES_OPTION_INVALID, CONES_OUT_OF_MEMORY, CONES_ABORTED
 */
export async function decode(session: Session, input: Latents, options: { readonly signal?: AbortSignal } = {}): Promise<Float32Array> {
  const { latents, signal } = parseOptions('decode', decodeSchema, ownOptions('decode', options, { latents: input }));
  return decodeLatents(session, latents, signal);
}

/** The model's autoencoder, or the one for drafts. */
export type Decoder = 'own' | 'drafts';

/** Pictures `[B, H, W, 3]`, about [-1, 1], of latents `[B, C, h, w]` as the UNet has them (scaled). */
export async function decodeLatents(session: Session, latents: Latents, signal?: AbortSignal, decoder: Decoder = 'own'): Promise<Float32Array> {
  const [batch, channels, height, width] = latents.shape;
  requireLength('latents', latents.data, batch * session.config.vae.latentChannels * height * width);
  requireLength('the latents\' shape', { length: channels }, session.config.vae.latentChannels);
  const { scalingFactor } = decoder === 'drafts' ? session.config.drafts! : session.config.vae;
  const unscaled = latents.data.map((value) => value / scalingFactor);
  return session.job(signal, (abort) => session.model.decode(unscaled, batch, height, width, { abort, draft: decoder === 'drafts' }));
}
