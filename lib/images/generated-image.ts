import { encodeImage, type EncodeOptions, encodeOptions, type Picture, saveImage } from './images';
import { parseOptions } from '../util/options';

const saveOptions = encodeOptions.pick({ quality: true });
const bufferOptions = saveOptions.extend({ format: encodeOptions.shape.format.default('png') });

/** A picture that was drawn: 8-bit RGB, with what made it. */
export class GeneratedImage implements Picture {
  readonly width: number;
  readonly height: number;
  /** [height, width, 3] */
  readonly data: Uint8Array;
  /** Prompt, seed, sampler, concepts, engine version …; written into the picture's file. */
  readonly metadata: Readonly<Record<string, string>>;

  constructor(data: Uint8Array, width: number, height: number, metadata: Readonly<Record<string, string>>) {
    this.data = data;
    this.width = width;
    this.height = height;
    this.metadata = metadata;
  }

  /** From the decoder's values, about [-1, 1]. */
  static fromPixels(pixels: Float32Array, width: number, height: number, metadata: Readonly<Record<string, string>>): GeneratedImage {
    const data = new Uint8ClampedArray(pixels.length);
    for (let i = 0; i < pixels.length; i++) data[i] = (pixels[i]! + 1) * 127.5;
    return new GeneratedImage(new Uint8Array(data.buffer), width, height, metadata);
  }

  get seed(): bigint {
    return BigInt(this.metadata['seed'] ?? 0);
  }

  /** The picture as a PNG (default), JPEG or WebP file, metadata included. */
  async toBuffer(options: Partial<Omit<EncodeOptions, 'metadata'>> = {}): Promise<Buffer> {
    return encodeImage(this, { ...parseOptions('image.toBuffer', bufferOptions, options), metadata: this.metadata });
  }

  /**
   * Writes the picture; the extension (.png, .jpg, .jpeg, .webp) tells the format.
   * @throws ConesError CONES_IO, CONES_OPTION_INVALID
   */
  async save(file: string, options: Partial<Omit<EncodeOptions, 'metadata' | 'format'>> = {}): Promise<void> {
    await saveImage(file, this, { ...parseOptions('image.save', saveOptions, options), metadata: this.metadata });
  }
}
