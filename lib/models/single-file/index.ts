/**
 * Whole models in one file, `.safetensors` or `.ckpt`, as CompVis's programs, stable-diffusion-webui and Civitai have them: a UNet, a
 * text encoder and an autoencoder under CompVis's names. Nothing is converted on disk: the addon gets diffusers' names of byte ranges.
 */
import path from 'node:path';
import { ConesError } from '../../errors';
import { brief, show } from '../../util/show';
import { assertFolder } from '../model-folder';
import { type JsonObject, readJson } from '../read-json';
import type { PredictionType } from '../types';
import type { WeightFiles } from '../weights';
import { clipConfig, openClipConfig, predictionOf, schedulerConfig, unetConfig, vaeConfig } from './configs';
import { type FileTensor, type FileTensors, readSingleFile, type SingleFile, under } from './tensors';
import { CLIP, OPEN_CLIP, openClipTensors } from './text-names';
import { readUNetNames } from './unet-names';
import { vaeRename } from './vae-names';
import { checkKind } from './what';

/** What a single file does not say of itself. */
export interface SingleFileOptions {
  /** What the UNet predicts. Default: epsilon, but for Stable Diffusion 2.x, which is taken for v-prediction unless it says that it is the base. */
  readonly prediction?: PredictionType | undefined;
  /** The averaged weights, where the file has both. Default false, as diffusers. */
  readonly ema?: boolean | undefined;
  /** A folder in diffusers layout, whose configs and tokenizer are taken; it needs no weights. */
  readonly config?: string | undefined;
}

/** Weights under diffusers' names, and diffusers' configs. */
export interface Part {
  readonly json: JsonObject;
  readonly weights: Required<WeightFiles>;
}

export interface SingleModel {
  readonly unet: Part;
  readonly text: Part;
  readonly vae: Part;
  readonly scheduler: JsonObject;
  /** Whether the file has the text encoder of Stable Diffusion 2.x. */
  readonly isSecond: boolean;
  /** The prediction is a guess: nothing in the file tells. */
  readonly guessed: boolean;
}

const UNET = 'model.diffusion_model.';
const VAES = ['first_stage_model.', 'vae.'];
const EMA = 'model_ema.';
/** As diffusers: a file has averaged weights when it has as many. */
const LEAST_EMA = 100;

/**
 * @param file absolute
 * @throws ConesError CONES_CONFIG_UNSUPPORTED naming what else the file is, CONES_CONFIG_INVALID, CONES_OPTION_INVALID, and what reading
 *   it throws
 */
export async function readSingleModel(file: string, { prediction, ema = false, config }: SingleFileOptions): Promise<SingleModel> {
  const single = await readSingleFile(file);
  const { tensors } = single;
  checkKind(file, tensors);
  const base = under(tensors, UNET);
  const unet = ema ? averaged(file, tensors, base) : base;
  const names = readUNetNames(base);
  const isSecond = tensors.has(`${OPEN_CLIP}token_embedding.weight`);
  const vae = VAES.map((prefix) => under(tensors, prefix)).find((found) => found.has('decoder.conv_in.weight'));
  const texts = under(tensors, isSecond ? OPEN_CLIP : CLIP);
  if (vae === undefined) throw incomplete(file, 'autoencoder (VAE)');
  if (texts.size === 0) throw incomplete(file, 'text encoder');

  const predicts = prediction ?? predictionOf(isSecond, single.globalStep);
  const given = config === undefined ? undefined : await readConfigs(config);
  const textJson = given?.text ?? (isSecond ? openClipConfig(texts) : clipConfig(texts));
  const layers = Number(textJson['num_hidden_layers']);
  const renameVae = vaeRename(vae);
  const weights = (list: Iterable<readonly [string, FileTensor]>) => weightsOf(file, single, list);
  return {
    unet: {
      json: given?.unet ?? unetConfig(base, names, isSecond, predicts),
      weights: weights(Array.from(unet, ([name, tensor]) => [names.rename(name), tensor] as const)),
    },
    text: { json: textJson, weights: weights(isSecond ? openClipTensors(texts, layers) : texts) },
    vae: {
      json: given?.vae ?? vaeConfig(vae),
      weights: weights(Array.from(vae, ([name, tensor]) => [renameVae(name), squeezed(name, tensor)] as const).filter(([name]) => VAE_PART.test(name))),
    },
    scheduler: { ...(given?.scheduler ?? schedulerConfig(predicts)), ...(prediction === undefined ? {} : { prediction_type: prediction }) },
    isSecond,
    guessed: isSecond && prediction === undefined && given === undefined && single.globalStep === undefined,
  };
}

/** Training leaves a loss and averages beside the autoencoder. */
const VAE_PART = /^(encoder|decoder|quant_conv|post_quant_conv)\./;

/** The oldest files hold attention as 1×1 convolutions. */
function squeezed(name: string, tensor: FileTensor): FileTensor {
  return name.includes('.attn_1.') && tensor.shape.length === 4 ? { ...tensor, shape: tensor.shape.slice(0, 2) } : tensor;
}

/** The averaged weights, which lie under names without dots. */
function averaged(file: string, tensors: FileTensors, base: FileTensors): FileTensors {
  const all = under(tensors, EMA);
  if (all.size <= LEAST_EMA) throw new ConesError('CONES_OPTION_INVALID', `${brief(file)} has no averaged weights besides its own: leave out the option ema.`);
  const found = new Map<string, FileTensor>();
  for (const name of base.keys()) {
    const tensor = all.get(`diffusion_model${name.replaceAll('.', '')}`);
    if (tensor === undefined) throw new ConesError('CONES_TENSOR_MISSING', `${brief(file)} has no averaged weights of ${show(name)}: leave out the option ema.`);
    found.set(name, tensor);
  }
  return found;
}

function weightsOf(file: string, { scattered }: SingleFile, list: Iterable<readonly [string, FileTensor]>): Required<WeightFiles> {
  const [odd] = [...scattered].filter((name) => [UNET, CLIP, OPEN_CLIP, ...VAES].some((prefix) => name.startsWith(prefix)));
  if (odd !== undefined) throw new ConesError('CONES_CHECKPOINT_INVALID', `${brief(file)}: the elements of ${show(odd)} do not lie together. Save the model as safetensors.`);
  const tensors = Array.from(list, ([name, { dtype, shape, offset }]) => ({ name, dtype, shape: [...shape], file: 0, offset }));
  return { files: [file], tensors };
}

async function readConfigs(folder: string): Promise<Record<'unet' | 'text' | 'vae' | 'scheduler', JsonObject>> {
  const root = path.resolve(folder);
  await assertFolder(root, folder);
  const [unet, text, vae, scheduler] = await Promise.all([
    readJson(path.join(root, 'unet', 'config.json')),
    readJson(path.join(root, 'text_encoder', 'config.json')),
    readJson(path.join(root, 'vae', 'config.json')),
    readJson(path.join(root, 'scheduler', 'scheduler_config.json')),
  ]);
  return { unet, text, vae, scheduler };
}

function incomplete(file: string, part: string): ConesError {
  return new ConesError('CONES_CONFIG_UNSUPPORTED', `${brief(file)} holds a UNet without ${part === 'text encoder' ? 'a' : 'an'} ${part}; cones loads whole models: take the file that has all parts ("full", or with a baked VAE).`);
}
