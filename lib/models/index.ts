import { stat } from 'node:fs/promises';
import path from 'node:path';
import { ConesError } from '../errors';
import { brief } from '../util/show';
import { invalid, unsupported } from './parse';
import { conditionChannels, conditionsOf } from './conditions';
import { checkFamily } from './family';
import { assertFolder } from './model-folder';
import { folderPath, readJson } from './read-json';
import { parseSchedulerConfig, readSchedulerConfig } from './scheduler';
import { readSingleModel, type SingleFileOptions } from './single-file';
import { parseTextConfig, readTextConfig } from './text-encoder';
import type { ModelConfig, TokenizerSource } from './types';
import { parseUNetConfig, readUNetConfig } from './unet';
import { parseVaeConfig, readVaeConfig } from './vae';

export { readSchedulerConfig } from './scheduler';
export { readTextConfig } from './text-encoder';
export { readUNetConfig } from './unet';
export { readDraftsConfig, readVaeConfig } from './vae';
export type * from './types';

/** Classes that each part of a model may have, in model_index.json. */
const COMPONENTS: Readonly<Record<string, readonly string[]>> = {
  unet: ['UNet2DConditionModel'],
  vae: ['AutoencoderKL', 'AsymmetricAutoencoderKL', 'AutoencoderTiny'],
  text_encoder: ['CLIPTextModel', 'CLIPTextModelWithProjection'],
  tokenizer: ['CLIPTokenizer', 'CLIPTokenizerFast'],
};

/** Parts that the engine leaves out: they do not draw. */
const UNUSED_COMPONENTS = ['scheduler', 'safety_checker', 'feature_extractor', 'image_encoder', 'requires_safety_checker', 'depth_estimator'];

/**
 * Reads and checks a model: a folder in diffusers layout, or a single file. Weights are located, not read.
 * @throws ConesError CONES_MODEL_NOT_FOUND, CONES_CONFIG_INVALID, CONES_CONFIG_UNSUPPORTED, CONES_CHECKPOINT_INVALID,
 *   CONES_SAFETENSORS_INVALID, CONES_OPTION_INVALID or CONES_IO.
 */
export async function loadModelConfig(given: string, options: SingleFileOptions = {}): Promise<ModelConfig> {
  const root = folderPath(given);
  if (await isFile(root)) return singleModelConfig(root, options);
  await assertFolder(root, given);
  const [option] = Object.entries(options).find(([, value]) => value !== undefined) ?? [];
  if (option !== undefined) throw new ConesError('CONES_OPTION_INVALID', `The option ${option} is for models in one file: ${brief(root)} is a folder, whose configs say it.`);
  await checkIndex(path.join(root, 'model_index.json'));
  const [unet, text, vae, scheduler] = await Promise.all([
    readUNetConfig(path.join(root, 'unet')),
    readTextConfig(path.join(root, 'text_encoder')),
    readVaeConfig(path.join(root, 'vae')),
    readSchedulerConfig(path.join(root, 'scheduler')),
  ]);
  checkFit(root, unet, text, vae);
  return { folder: root, unet, text, vae, scheduler, tokenizer: path.join(root, 'tokenizer'), guessed: false };
}

async function singleModelConfig(file: string, options: SingleFileOptions): Promise<ModelConfig> {
  const { unet, text, vae, scheduler, isSecond, guessed } = await readSingleModel(file, options);
  const source = options.config ?? file;
  const config = {
    unet: { ...parseUNetConfig(source, unet.json), ...unet.weights },
    text: { ...parseTextConfig(source, text.json), ...text.weights },
    vae: { ...parseVaeConfig(source, vae.json), ...vae.weights },
    scheduler: parseSchedulerConfig(source, scheduler),
  };
  checkFit(file, config.unet, config.text, config.vae);
  const tokenizer: TokenizerSource = options.config === undefined ? { pad: isSecond ? '!' : '<|endoftext|>' } : path.resolve(options.config, 'tokenizer');
  return { folder: file, ...config, tokenizer, guessed };
}

async function isFile(file: string): Promise<boolean> {
  return stat(file).then((found) => found.isFile(), () => false);
}

export async function checkIndex(file: string): Promise<void> {
  const index = await readJson(file);
  checkFamily(file, index);
  for (const [name, classes] of Object.entries(COMPONENTS)) {
    const entry = index[name];
    const className = Array.isArray(entry) && entry.length === 2 ? (entry[1] as unknown) : undefined;
    if (className === undefined) throw invalid(file, `"${name}" must be a [library, class] pair`);
    if (!classes.includes(className as string)) throw unsupported(file, name, entry, classes.join(' or '));
  }
  for (const [name, entry] of Object.entries(index)) {
    if (name.startsWith('_') || Object.hasOwn(COMPONENTS, name) || UNUSED_COMPONENTS.includes(name)) continue;
    // A part such as text_encoder_2 would change the pictures; [null, null] says that it is not there.
    if (Array.isArray(entry) && entry.some((part) => part !== null)) {
      throw unsupported(file, name, entry, [...Object.keys(COMPONENTS), ...UNUSED_COMPONENTS].join(', '));
    }
  }
}

/** The parts must fit each other. */
function checkFit(
  root: string,
  unet: ModelConfig['unet'],
  text: ModelConfig['text'],
  vae: ModelConfig['vae'],
): void {
  const file = path.join(root, 'unet', 'config.json');
  if (unet.crossAttentionDim !== text.hiddenSize) {
    throw invalid(
      file,
      `"cross_attention_dim" is ${unet.crossAttentionDim}, but the text encoder's "hidden_size" is ${text.hiddenSize}`,
    );
  }
  if (conditionsOf({ unet, vae }) === undefined) {
    const known = (['none', 'depth', 'picture', 'inpainting'] as const).map((name) => vae.latentChannels + conditionChannels(name, vae.latentChannels));
    throw unsupported(file, 'in_channels', unet.inChannels, `${known.join(', ')} with the autoencoder's "latent_channels", ${vae.latentChannels} (text, depth, a picture, inpainting)`);
  }
  if (unet.outChannels !== vae.latentChannels) {
    throw unsupported(file, 'out_channels', unet.outChannels, `${vae.latentChannels}, the autoencoder's "latent_channels"`);
  }
  if (vae.inChannels !== 3 || vae.outChannels !== 3) {
    throw unsupported(path.join(root, 'vae', 'config.json'), 'in_channels', vae.inChannels, '3 in, 3 out');
  }
}
