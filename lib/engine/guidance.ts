/**
 * Classifier-free guidance (Ho & Salimans 2022) is on above a scale of 1, as in diffusers. At 1 and below the UNet sees the prompt
 * alone, and a negative prompt has no effect.
 */
export function isGuided(guidance: number): boolean {
  return guidance > 1;
}
