import { isGuided } from '../engine/guidance';
import { escapeWeights } from '../text/emphasis';
import type { PromptSyntax } from '../text/prompt-syntax';
import { A1111_NAMES, KARRAS_SAMPLERS, type SamplerName } from '../diffusion/sampler-names';

/** Settings of a drawing in the form in which stable-diffusion-webui (AUTOMATIC1111) writes and reads them, as a picture's `parameters`. */
export interface A1111Settings {
  readonly prompt: string;
  readonly negativePrompt: string;
  readonly promptSyntax: PromptSyntax;
  readonly seed: string;
  readonly sampler: SamplerName;
  readonly steps: number;
  readonly guidance: number;
  /** DDIM and TCD only. */
  readonly eta?: number | undefined;
  readonly width: number;
  readonly height: number;
  /** Whether the noise levels are spaced as Karras et al. have it. */
  readonly karras: boolean;
  /** Of a picture that was drawn from another. */
  readonly strength?: number | undefined;
  /** Program and version. */
  readonly engine: string;
}

/** Prompt, "Negative prompt: …" unless it is empty, and a line of "Name: value" pairs. */
export function a1111Parameters(settings: A1111Settings): string {
  // There brackets are weights.
  const inItsSyntax = (text: string) => (settings.promptSyntax === 'plain' ? escapeWeights(text) : text);
  const [prompt, negativePrompt] = [inItsSyntax(settings.prompt), inItsSyntax(settings.negativePrompt)];
  const { seed, sampler, steps, guidance, eta, width, height, karras, strength, engine } = settings;
  const pairs = [
    `Steps: ${steps}`,
    `Sampler: ${A1111_NAMES[sampler]}`,
    ...(karras && KARRAS_SAMPLERS.has(sampler) ? ['Schedule type: Karras'] : []),
    // There 1 is none, and less is something else.
    `CFG scale: ${isGuided(guidance) ? guidance : 1}`,
    `Seed: ${seed}`,
    `Size: ${width}x${height}`,
    ...(eta === undefined ? [] : [`${sampler === 'ddim' ? 'Eta DDIM' : 'Eta'}: ${eta}`]),
    ...(strength === undefined ? [] : [`Denoising strength: ${strength}`]),
    `Version: ${engine}`,
  ];
  return [prompt, ...(negativePrompt === '' ? [] : [`Negative prompt: ${negativePrompt}`]), pairs.join(', ')].join('\n');
}
