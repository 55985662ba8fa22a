import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { ioError } from '../../util/files';
import { parseOptions } from '../../util/options';
import { brief } from '../../util/show';
import { type FloatTensor, writeSafetensors } from '../../util/write-safetensors';
import { writeDreamboothFolder } from './dreambooth-folder';
import type { TrainMethod } from './options';

/** A subject that was trained. */
export interface TrainedSubject {
  /** The name in prompts: `V1*`. */
  readonly identifier: string;
  /** With DreamBooth what the text encoder sees for it, and what other programs' prompts say: `sks`. */
  readonly token: string;
  readonly category: string;
}

interface Parts {
  readonly method: TrainMethod;
  readonly subjects: readonly TrainedSubject[];
  readonly steps: number;
  readonly embeddings: ReadonlyMap<string, FloatTensor>;
  readonly weights: ReadonlyMap<string, FloatTensor>;
  readonly modelFolder: string;
}

/** What a training has made, in the forms that diffusers reads. */
export class Trained {
  readonly method: TrainMethod;
  readonly subjects: readonly TrainedSubject[];
  /** Steps that it took. */
  readonly steps: number;
  /** Learned token embeddings `[1, D]`, by identifier; none with DreamBooth. */
  readonly embeddings: ReadonlyMap<string, FloatTensor>;
  /** Trained weights of the UNet by diffusers' names, such as `mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight`; none with Textual Inversion. */
  readonly weights: ReadonlyMap<string, FloatTensor>;
  readonly #modelFolder: string;

  /** @internal */
  constructor(parts: Parts) {
    this.method = parts.method;
    this.subjects = parts.subjects;
    this.steps = parts.steps;
    this.embeddings = parts.embeddings;
    this.weights = parts.weights;
    this.#modelFolder = parts.modelFolder;
  }

  /**
   * Writes it for diffusers, in fp32:
   * - Textual Inversion of one subject: a file such as `learned_embeds.safetensors`, `{ identifier: [1, D] }`, for
   *   `load_textual_inversion`; of several subjects a folder with a file each;
   * - Custom Diffusion: a folder with `pytorch_custom_diffusion_weights.safetensors`, for `unet.load_attn_procs`, and an embedding file
   *   for each subject, named after its identifier (signs that file names may not have are left out: `V1.safetensors`);
   * - DreamBooth: a new folder in diffusers layout, the model's own with another UNet, for `Engine.load` and `from_pretrained`.
   * @throws ConesError CONES_IO, CONES_OPTION_INVALID where DreamBooth's folder is there already, or its model is no folder
   */
  async save(target: string): Promise<void> {
    const { file } = parseOptions('save', z.strictObject({ file: z.string().min(1) }), { file: target });
    if (this.method === 'dreambooth') return writeDreamboothFolder(this.#modelFolder, file, this.weights);
    if (this.method === 'textual-inversion' && this.embeddings.size === 1) return writeSafetensors(file, this.embeddings);
    await writeForDiffusers(file, this.embeddings, this.weights);
  }
}

/** An embedding file for each identifier and, where there are weights, Custom Diffusion's. */
export async function writeForDiffusers(folder: string, embeddings: ReadonlyMap<string, FloatTensor>, weights: ReadonlyMap<string, FloatTensor>): Promise<void> {
  await mkdir(folder, { recursive: true }).catch((cause: unknown) => Promise.reject(ioError(`${brief(folder)} cannot be made`, cause)));
  for (const [name, embedding] of embeddings) await writeSafetensors(path.join(folder, embeddingFile(name, [...embeddings.keys()])), new Map([[name, embedding]]));
  if (weights.size > 0) await writeSafetensors(path.join(folder, 'pytorch_custom_diffusion_weights.safetensors'), processorTensors(weights));
}

/** The name of an identifier's file: its letters and digits, or else its number. */
function embeddingFile(identifier: string, all: readonly string[]): string {
  const plain = (name: string) => name.replace(/[^\p{L}\p{N}_-]/gu, '').slice(0, 60);
  const [own, ...same] = all.filter((name) => plain(name).toLowerCase() === plain(identifier).toLowerCase());
  const unique = own !== undefined && same.length === 0 && plain(identifier) !== '';
  return `${unique ? plain(identifier) : `subject-${all.indexOf(identifier) + 1}`}.safetensors`;
}

/**
 * Names of diffusers' Custom Diffusion attention processors. `load_attn_procs` wants a processor for every attention layer; an empty tensor
 * is one that trains nothing (diffusers' own safetensors leave these out, and then do not load).
 */
function processorTensors(weights: ReadonlyMap<string, FloatTensor>): Map<string, FloatTensor> {
  const named = new Map<string, FloatTensor>();
  for (const [name, tensor] of weights) {
    const [, layer, projection] = /^(.*\.attn\d)\.(to_[kv])\.weight$/.exec(name)!;
    named.set(`${layer}.processor.${projection}_custom_diffusion.weight`, tensor);
    const other = layer!.replace(/attn2$/, 'attn1');
    if (!weights.has(`${other}.to_k.weight`)) named.set(`${other}.processor`, { shape: [0], values: new Float32Array() });
  }
  return named;
}
