// Full fine-tuning of the K-V weights, which masks are compared with: scripts/mini/report.py --tune-rate measures it in PyTorch.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** `{ subject, variants: { untouched, …, tuned, mask } }` of every result in a folder that has the ceiling of one of these subjects. */
export function ceilingOf(folder, subjects) {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.json'))
    .map((file) => JSON.parse(readFileSync(path.join(folder, file), 'utf8')))
    .filter((result) => result.variants?.tuned && result.variants.mask && subjects.includes(result.subject))
    .map(({ subject, variants, settings }) => ({ subject, variants, settings }));
}
