/** How much of a gradient's activations backward computes again rather than keeping them. */
import { z } from 'zod';

/**
 * false: none; `'light'`: norms and projections within transformer blocks; true: every layer of the UNet. At Stable Diffusion 1.4's
 * size a default search takes 16.4, 12.0 or 10.5 GiB.
 */
export type Checkpointing = boolean | 'light';

export const checkpointingOption = z.union([z.boolean(), z.literal('light')]);

/** From the fastest to the one that takes least memory: where nobody chose, the first that fits is taken. */
export const CHECKPOINTING: readonly Checkpointing[] = [false, 'light', true];
