import os from 'node:os';

/** What the process may use: the machine's memory, or its container's (control group's), in bytes. */
export function hostMemory(): number {
  // Without a container's limit it is 0 or undefined, or larger than any machine.
  const container = process.constrainedMemory() || Infinity;
  return Math.min(os.totalmem(), container);
}

/** 90 % of it. */
export function defaultMemoryLimit(): number {
  return Math.floor(0.9 * hostMemory());
}
