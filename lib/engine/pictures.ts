import { ConesError } from '../errors';
import { loadImage } from '../images';
import type { Latents } from './tensors';
import { requireLength } from './tensors';
import type { Session } from './session';

/** The autoencoder's posterior for pictures: mean, then log-variance along the channels, `[B, 2C, h, w]`. Not scaled. */
export interface Moments {
  readonly data: Float32Array;
  readonly shape: readonly [batch: number, channels: number, height: number, width: number];
}

/** A picture file, or its bytes. */
export type ImageInput = string | Uint8Array;

/** A side of the model's own pictures in pixels, when its config tells. */
export function nativeSize(session: Session): { height: number; width: number } {
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
  const pixels = new Float32Array(images.length * size.height * size.width * 3);
  for (const [i, image] of images.entries()) {
    pixels.set(await loadImage(image, size), i * size.height * size.width * 3);
  }
  return encodePixels(session, pixels, [images.length, size.height, size.width], latent, signal);
}

/** Encodes pixels `[B, H, W, 3]` in [-1, 1]. */
export async function encodePixels(
  session: Session,
  pixels: Float32Array,
  [batch, height, width]: readonly [number, number, number],
  latent = latentSize(session, height, width),
  signal?: AbortSignal,
): Promise<Moments> {
  requireLength('pixels', pixels, batch * height * width * 3);
  const data = await session.job(signal, (abort) => session.model.encodeImages(pixels, batch, height, width, { abort }));
  return { data, shape: [batch, 2 * session.config.vae.latentChannels, latent.height, latent.width] };
}

/** Pictures `[B, H, W, 3]`, about [-1, 1], of latents `[B, C, h, w]` as the UNet has them (scaled). */
export async function decodeLatents(session: Session, latents: Latents, signal?: AbortSignal): Promise<Float32Array> {
  const [batch, channels, height, width] = latents.shape;
  requireLength('latents', latents.data, batch * session.config.vae.latentChannels * height * width);
  requireLength('the latents\' shape', { length: channels }, session.config.vae.latentChannels);
  const { scalingFactor } = session.config.vae;
  const unscaled = latents.data.map((value) => value / scalingFactor);
  return session.job(signal, (abort) => session.model.decode(unscaled, batch, height, width, { abort }));
}
