import { types } from 'node:util';
import { z } from 'zod';
import type { NativeClip } from '../typings/native';
import { deviceOptions, type DeviceOptions, nativePlace, type Precision } from './device';
import { ConesError } from './errors';
import { loadImage, type ImageInput } from './images/images';
import { type ClipConfig, readClipConfig } from './models/clip';
import { downloadOptions, type DownloadOptions, modelFolder } from './models/hub';
import { folderPath } from './models/read-json';
import { loadWithin } from './models/loading-memory';
import { fromNative, native } from './native';
import { imageOption, parseOptions, refusePaths } from './util/options';
import { Tokenizer } from './text/tokenizer';

export interface ClipOptions extends DeviceOptions, DownloadOptions {
  /** False: pictures are bytes, and no text makes the pair read a file. Default true. */
  readonly allowPaths?: boolean;
}

const clipOptions = z.strictObject({ ...deviceOptions, ...downloadOptions, allowPaths: z.boolean().default(true) });

/** Vectors of norm 1, one per picture or text: the cosine of two is their dot product. */
export type ClipEmbedding = Float32Array;

/**
 * A CLIP pair (transformers' `CLIPModel` folder, such as models/mini-clip), which measures pictures as the paper does
 * (§4.1): image alignment is the cosine of a picture's and the subject's embeddings, text alignment that of a picture's and
 * the prompt's (without the identifier).
 */
export class Clip implements AsyncDisposable {
  readonly #native: NativeClip;
  readonly #config: ClipConfig;
  readonly #tokenizer: Tokenizer;
  readonly #allowPaths: boolean;
  /** Where it computes: 'cpu', 'cuda:0'. */
  readonly device: string;
  readonly precision: Precision;

  private constructor(clip: NativeClip, config: ClipConfig, tokenizer: Tokenizer, allowPaths: boolean) {
    this.#native = clip;
    this.#config = config;
    this.#tokenizer = tokenizer;
    this.#allowPaths = allowPaths;
    this.device = clip.device;
    this.precision = clip.precision as Precision;
  }

  /**
   * @param model the path of its folder, or a name on the hub (`hf:openai/clip-vit-large-patch14`), as for {@link Engine.load}
   * @throws ConesError as {@link Engine.load}
   */
  static async load(model: string, options: ClipOptions = {}): Promise<Clip> {
    const settings = parseOptions('Clip.load', clipOptions, options);
    const root = folderPath(await modelFolder(model, settings));
    const config = await readClipConfig(root);
    const { text, vision, projectionSize, eosTokenId, files, tensors } = config;
    const weights = tensors === undefined ? { files } : { files, tensors };
    const tokenizer = await Tokenizer.load(root, text);
    const place = nativePlace(settings);
    const clip = await loadWithin(place, [weights], (within) =>
      native().loadClip({ text, vision, projectionSize, eosTokenId, ...weights, ...within }),
    );
    return new Clip(clip, config, tokenizer, settings.allowPaths);
  }

  /** Embeddings of picture files (or their bytes), upright and centre-cropped to the tower's size. */
  async embedImages(images: readonly ImageInput[]): Promise<ClipEmbedding[]> {
    const given = parseOptions('clip.embedImages', z.array(imageOption), images);
    if (!this.#allowPaths) refusePaths('clip.embedImages', { images: given });
    if (given.length === 0) throw new ConesError('CONES_IMAGES_MISSING', 'No pictures were given to embed.');
    const { mean, std } = this.#config;
    const { imageSize: side } = this.#config.vision;
    const pixels = new Float32Array(given.length * side * side * 3);
    for (const [i, image] of given.entries()) {
      const rgb = await loadImage(image, { width: side, height: side });
      // From [-1, 1] to the preprocessor's normalisation of [0, 1].
      pixels.set(rgb.map((value, p) => ((value + 1) / 2 - mean[p % 3]!) / std[p % 3]!), i * rgb.length);
    }
    return this.#rows(await fromNative(() => this.#native.embedImages(pixels, { batch: given.length })));
  }

  /** Embeddings of texts; what is longer than the tower's positions is cut off. */
  async embedTexts(texts: readonly string[]): Promise<ClipEmbedding[]> {
    const given = parseOptions('clip.embedTexts', z.array(z.string()), texts);
    if (given.length === 0) throw new ConesError('CONES_PROMPT_EMPTY', 'No texts were given to embed.');
    const ids = new Int32Array(given.length * this.#tokenizer.maxLength);
    given.forEach((text, i) => ids.set(this.#tokenizer.encode(text).ids, i * this.#tokenizer.maxLength));
    return this.#rows(await fromNative(() => this.#native.embedTexts(ids, { batch: given.length })));
  }

  #rows(values: Float32Array): ClipEmbedding[] {
    const size = this.#config.projectionSize;
    return Array.from({ length: values.length / size }, (_, i) => values.slice(i * size, (i + 1) * size));
  }

  /** Frees the weights; calls that are running end first. */
  dispose(): Promise<void> {
    this.#native.dispose();
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}

/** Cosine of two CLIP embeddings. */
export function cosine(a: ClipEmbedding, b: ClipEmbedding): number {
  if (!types.isFloat32Array(a) || !types.isFloat32Array(b) || a.length !== b.length) {
    throw new ConesError('CONES_OPTION_INVALID', 'cosine takes two embeddings of one CLIP pair: Float32Arrays of one length.');
  }
  return a.reduce((sum, value, i) => sum + value * b[i]!, 0);
}
