/** `<lora:name:0.8>` in a prompt: an adapter that is to be drawn with, and no text, as stable-diffusion-webui (AUTOMATIC1111) has it. */
import { ConesError } from '../errors';
import { brief } from '../util/show';

/** An adapter that a prompt asks for. */
export interface AdapterReference {
  /** The file's, without its folder and extension. */
  readonly name: string;
  /** How much of it is added to the UNet. Default: as much as to the text encoder. */
  readonly weight: number;
  /** How much of it is added to the text encoder. Default 1. */
  readonly textWeight: number;
}

const TAG = /<(?:lora|lyco):([^<>]*)>/giu;
const MOST_TAGS = 64;
const MOST_WEIGHT = 100;

/**
 * Takes the tags out of a prompt.
 * @throws ConesError CONES_OPTION_INVALID for a tag without a name or with a weight that is none
 */
export function takeAdapterTags(prompt: string): { readonly text: string; readonly adapters: readonly AdapterReference[] } {
  const adapters: AdapterReference[] = [];
  const text = prompt.replace(TAG, (tag, content: string) => {
    if (adapters.push(readTag(tag, content)) > MOST_TAGS) throw invalid(`the prompt asks for more than ${MOST_TAGS} adapters`);
    return '';
  });
  return { text, adapters };
}

/** `name`, `name:both`, `name:text:unet`; or with names, `name:te=0.5:unet=1`. */
function readTag(tag: string, content: string): AdapterReference {
  const [name = '', ...values] = content.split(':', 8).map((part) => part.trim());
  const weightOf = (value: string): number => {
    const weight = value === '' ? NaN : Number(value);
    if (!(Math.abs(weight) <= MOST_WEIGHT)) throw invalid(`"${brief(tag)}" has a weight that is no number from -${MOST_WEIGHT} to ${MOST_WEIGHT}: write one such as <lora:name:0.8>`);
    return weight;
  };
  const named = (key: string) => values.find((value) => value.startsWith(`${key}=`))?.slice(key.length + 1);
  const [first, second] = values.filter((value) => !value.includes('='));
  if (name === '') throw invalid(`"${brief(tag)}" names no adapter: write <lora:name:0.8>`);
  const textWeight = weightOf(named('te') ?? first ?? '1');
  return { name, weight: weightOf(named('unet') ?? second ?? String(textWeight)), textWeight };
}

function invalid(problem: string): ConesError {
  return new ConesError('CONES_OPTION_INVALID', `prompt: ${problem}.`);
}
