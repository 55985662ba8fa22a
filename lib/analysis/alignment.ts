/** Which CLIP pair measures the pictures of a report, and what it says of them (paper §4.1). */
import path from 'node:path';
import { Clip, type ClipEmbedding, cosine } from '../clip';
import type { Session } from '../engine/session';
import type { GeneratedImage } from '../images/generated-image';
import type { ImageInput } from '../images/images';
import { readClipConfig } from '../models/clip';
import { modelFolder as folderOf } from '../models/hub';
import { readJson } from '../models/read-json';
import { mean } from './metrics';

/** Mean cosines of pictures in a CLIP pair's space. */
export interface Alignment {
  /** To the subject's own pictures. */
  readonly image: number;
  /** To the prompt without the identifier. */
  readonly text: number;
}

/**
 * The pair to measure with: the given one (a name on the hub becomes its folder), or the folder `<model>-clip` beside the model's (as models/mini-clip), or none.
 * What is wrong with a folder is told here, before a search rather than after it; its weights are loaded only to measure.
 * @throws ConesError CONES_MODEL_NOT_FOUND, CONES_CONFIG_INVALID, and as pullModel
 */
export async function findPair(modelFolder: string, given: Clip | string | null | undefined, signal?: AbortSignal): Promise<Clip | string | null> {
  if (given === null || given instanceof Clip) return given;
  const folder = given === undefined ? `${path.resolve(modelFolder)}-clip` : await folderOf(given, { signal });
  if (given === undefined && !(await isPair(folder))) return null;
  await readClipConfig(folder);
  return folder;
}

/** Measures pictures against the subject's own and the texts that they were drawn from. */
export class Aligner implements AsyncDisposable {
  readonly #clip: Clip;
  readonly #own: boolean;
  readonly #subject: readonly ClipEmbedding[];

  private constructor(clip: Clip, own: boolean, subject: readonly ClipEmbedding[]) {
    this.#clip = clip;
    this.#own = own;
    this.#subject = subject;
  }

  static async open(pair: Clip | string, subject: readonly ImageInput[], { threads, device }: Pick<Session, 'threads' | 'device'>): Promise<Aligner> {
    const own = typeof pair === 'string';
    const clip = own ? await Clip.load(pair, { threads, device: device === 'cpu' ? 'cpu' : 'auto' }) : pair;
    try {
      return new Aligner(clip, own, await clip.embedImages(subject));
    } catch (error) {
      if (own) await clip.dispose();
      throw error;
    }
  }

  /** @param text the prompt without the identifier */
  async measure(images: readonly GeneratedImage[], text: string): Promise<Alignment> {
    const [texts, pictures] = [
      await this.#clip.embedTexts([text]),
      await this.#clip.embedImages(await Promise.all(images.map((image) => image.toBuffer()))),
    ];
    const alignmentTo = (others: readonly ClipEmbedding[]) => mean(pictures.flatMap((picture) => others.map((other) => cosine(picture, other))));
    return { image: alignmentTo(this.#subject), text: alignmentTo(texts) };
  }

  /** Frees the pair when it was loaded here. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#own) await this.#clip.dispose();
  }
}

/** Whether a folder that nobody named is meant: it may have its name for other reasons. */
async function isPair(folder: string): Promise<boolean> {
  return readJson(path.join(folder, 'config.json')).then(
    (config) => config['model_type'] === 'clip',
    () => false,
  );
}
