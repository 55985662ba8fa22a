import { isGuided } from '../engine/guidance';
import type { SamplerName } from '../diffusion/schedule';

/** Settings of a drawing in the form in which stable-diffusion-webui (AUTOMATIC1111) writes and reads them, as a picture's `parameters`. */
export interface A1111Settings {
  readonly prompt: string;
  readonly negativePrompt: string;
  readonly seed: string;
  readonly sampler: SamplerName;
  readonly steps: number;
  readonly guidance: number;
  /** DDIM only. */
  readonly eta?: number | undefined;
  readonly width: number;
  readonly height: number;
  /** Whether the noise levels are spaced as Karras et al. have it. */
  readonly karras: boolean;
  /** Program and version. */
  readonly engine: string;
}

const SAMPLERS: Readonly<Record<SamplerName, string>> = { 'dpm-solver-multistep': 'DPM++ 2M', ddim: 'DDIM', euler: 'Euler' };

/** Prompt, "Negative prompt: …" unless it is empty, and a line of "Name: value" pairs. */
export function a1111Parameters(settings: A1111Settings): string {
  const { prompt, negativePrompt, seed, sampler, steps, guidance, eta, width, height, karras, engine } = settings;
  const pairs = [
    `Steps: ${steps}`,
    `Sampler: ${SAMPLERS[sampler]}`,
    ...(karras && sampler !== 'ddim' ? ['Schedule type: Karras'] : []),
    // There 1 is none, and less is something else.
    `CFG scale: ${isGuided(guidance) ? guidance : 1}`,
    `Seed: ${seed}`,
    `Size: ${width}x${height}`,
    ...(eta === undefined ? [] : [`Eta DDIM: ${eta}`]),
    `Version: ${engine}`,
  ];
  return [prompt, ...(negativePrompt === '' ? [] : [`Negative prompt: ${negativePrompt}`]), pairs.join(', ')].join('\n');
}
