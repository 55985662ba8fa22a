/**
 * Pictures of two subjects side by side, from a picture of each: what they look like together is in no given picture (as
 * Cut-Mix-Unmix of SVDiff, Han et al. 2023).
 */
import { encodeImage, type ImageInput, loadImage } from '../../images/images';

interface Size {
  readonly width: number;
  readonly height: number;
}

/** A half shows the middle 80 % of its picture: subjects stand there, and should not come out small. */
const ZOOM = 1.25;

/** A PNG of the given size. What a half has no picture for, above and below it, repeats its first and last row. */
export async function sideBySide(left: ImageInput, right: ImageInput, size: Size): Promise<Buffer> {
  const data = new Float32Array(size.width * size.height * 3);
  const middle = Math.floor(size.width / 2);
  await drawHalf(data, size, left, 0, middle);
  await drawHalf(data, size, right, middle, size.width);
  return encodeImage({ ...size, data }, { format: 'png' });
}

async function drawHalf(data: Float32Array, { width, height }: Size, image: ImageInput, from: number, to: number): Promise<void> {
  const scale = (ZOOM * (to - from)) / width;
  const zoomed = { width: Math.ceil(scale * width), height: Math.ceil(scale * height) };
  const pixels = await loadImage(image, zoomed); // [height, width, 3]
  const shown = Math.min(height, Math.round(zoomed.height / ZOOM));
  const left = Math.floor((zoomed.width - (to - from)) / 2);
  const above = Math.floor((height - shown) / 2);
  const cut = Math.floor((zoomed.height - shown) / 2);
  for (let y = 0; y < height; y++) {
    const row = cut + Math.min(Math.max(y - above, 0), shown - 1);
    const start = (row * zoomed.width + left) * 3;
    data.set(pixels.subarray(start, start + (to - from) * 3), (y * width + from) * 3);
  }
}
