/** What a single file is when it is no whole model of the engine's family, told from the names of its tensors. */
import { ConesError } from '../../errors';
import { brief } from '../../util/show';
import { SDXL } from '../family';
import type { FileTensors } from './tensors';

/** Parts of names, each with what a file that has it is. The first that is found counts. */
const SIGNS: readonly (readonly [part: string | RegExp, what: string])[] = [
  ['conditioner.embedders.', SDXL],
  ['joint_blocks.', 'Stable Diffusion 3'],
  ['double_blocks.', 'FLUX, or a model made like it'],
  ['clip_txt_mapper.', 'Stable Cascade'],
  ['motion_modules.', 'a motion module of AnimateDiff'],
  [/^(control_model\.|controlnet_cond_embedding\.|input_hint_block\.)/, 'a ControlNet'],
  [/^(lora_|lycoris_)|\.(lora_[AB]|lora_down|lora_up|lora\.down|lora\.up)\.|\.(hada_w1_a|lokr_w1|oft_blocks)$/, 'a LoRA, which changes a model and is none'],
  [/^(emb_params|string_to_param|clip_l|clip_g)$|^<.*>$/, 'an embedding of textual inversion, which is a word for a model and is none'],
  [/^(model\.diffusion_model\.)?(transformer_blocks|layers|blocks)\.\d+\./, 'a diffusion transformer, not a UNet'],
  [/^(down_blocks|up_blocks|mid_block)\./, "a UNet under diffusers' names: put it into the unet/ folder of a model in diffusers layout"],
  [/^(text_model|vision_model)\./, 'a text encoder alone'],
  [/^(encoder|decoder)\.(conv_in|down|up|mid)/, 'an autoencoder (VAE) alone'],
];

/** Inputs of the UNet's first convolution that no drawing has, or whose file has more than a model. */
const CHANNELS: Readonly<Record<number, string>> = {
  5: 'a depth-to-image model (5 input channels)',
  7: "Stable Diffusion's upscaler (7 input channels)",
};

const SUPPORTED = 'in one file the engine reads Stable Diffusion 1.x and 2.x, and models trained from them';

/**
 * @throws ConesError CONES_CONFIG_UNSUPPORTED, in a sentence that names what the file is, unless it is such a model
 */
export function checkKind(file: string, tensors: FileTensors): void {
  const first = tensors.get('model.diffusion_model.input_blocks.0.0.weight');
  const names = [...tensors.keys()];
  const [, sign] = SIGNS.find(([part]) => names.some((name) => (typeof part === 'string' ? name.includes(part) : part.test(name)))) ?? [];
  const isModel = first !== undefined && tensors.has('model.diffusion_model.out.2.weight');
  // A model may carry a LoRA's or a ControlNet's names besides: what is inside the UNet's own prefix tells.
  const foreign = sign !== undefined && (!isModel || sign === SDXL);
  if (foreign) throw refused(file, sign);
  if (!isModel) throw refused(file, tensors.size === 0 ? 'a file without tensors' : 'no diffusion model that cones knows');
  const channels = first.shape[1];
  if (tensors.has('model.diffusion_model.label_emb.0.0.weight')) throw refused(file, 'Stable unCLIP, or another model with class embeddings');
  if (channels !== undefined && CHANNELS[channels] !== undefined) throw refused(file, CHANNELS[channels]);
}

function refused(file: string, what: string): ConesError {
  return new ConesError('CONES_CONFIG_UNSUPPORTED', `${brief(file)} is ${what}; ${SUPPORTED}.`);
}
