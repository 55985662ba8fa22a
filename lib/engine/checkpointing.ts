/** How much of a gradient's activations backward computes again rather than keeping them. */
import { z } from 'zod';

/**
 * false: none; `'light'`: norms and projections within transformer blocks; true: every layer of the UNet. At Stable Diffusion 1.4's
 * size a default search takes 16.4, 12.0 or 10.5 GiB.
 */
export type Checkpointing = boolean | 'light';

export const checkpointingOption = z.union([z.boolean(), z.literal('light')]);

/** From the fastest to the one that takes least memory. */
const CHECKPOINTING: readonly Checkpointing[] = [false, 'light', true];

/** What may be tried, in this order: where nobody chose, the first that fits is taken. */
export function checkpointingLevels(chosen: Checkpointing | undefined): readonly Checkpointing[] {
  return chosen === undefined ? CHECKPOINTING : [chosen];
}

/** The plan of the level that a job would take with `available` bytes: where none fits, the last. */
export function planLevel<T extends { readonly peak: number }>(chosen: Checkpointing | undefined, available: () => number, plan: (level: Checkpointing) => T): T {
  const [first, ...others] = checkpointingLevels(chosen);
  let planned = plan(first!);
  for (const level of others) if (planned.peak > available()) planned = plan(level);
  return planned;
}
