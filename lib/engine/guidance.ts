/**
 * Classifier-free guidance (Ho & Salimans 2022) is on above a scale of 1, as in diffusers. At 1 and below the UNet sees the prompt
 * alone, and a negative prompt has no effect.
 */
export function isGuided(guidance: number): boolean {
  return guidance > 1;
}

/**
 * Whether a model draws with it. A latent consistency model is told the scale itself, and guidance by a picture (InstructPix2Pix) below 1
 * turns both off, as in diffusers.
 */
export function modelIsGuided(
  { unet }: { readonly unet: { readonly timeCondDim?: number } },
  { guidance, imageGuidance = 1 }: { readonly guidance: number; readonly imageGuidance?: number | undefined },
): boolean {
  return isGuided(guidance) && !unet.timeCondDim && imageGuidance >= 1;
}
