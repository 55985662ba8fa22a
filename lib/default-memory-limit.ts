import os from 'node:os';

/** 90 % of what the process may use: the machine's memory, or its container's (control group's), in bytes. */
export function defaultMemoryLimit(): number {
  // Without a container's limit it is 0 or undefined, or larger than any machine.
  const container = process.constrainedMemory() || Infinity;
  return Math.floor(0.9 * Math.min(os.totalmem(), container));
}
