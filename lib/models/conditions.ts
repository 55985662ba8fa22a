/** What a model's UNet sees beside the latents: by the number of its input channels, which is how diffusers' pipelines tell, too. */

/**
 * 'none': text to image; 'depth': a depth map; 'picture': the latents of a picture (InstructPix2Pix); 'inpainting': a mask, and the latents
 * of what it leaves of a picture.
 */
export type Conditions = 'none' | 'depth' | 'picture' | 'inpainting';

const NAMES = ['none', 'depth', 'picture', 'inpainting'] as const;

/** Channels of each for latents of `latentChannels`. */
export function conditionChannels(conditions: Conditions, latentChannels: number): number {
  return { none: 0, depth: 1, picture: latentChannels, inpainting: latentChannels + 1 }[conditions];
}

/** Undefined: none that is known. */
export function conditionsOf({ unet, vae }: { readonly unet: { readonly inChannels: number }; readonly vae: { readonly latentChannels: number } }): Conditions | undefined {
  return NAMES.find((name) => unet.inChannels === vae.latentChannels + conditionChannels(name, vae.latentChannels));
}
