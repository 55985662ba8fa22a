// Fails where a file of csrc/ or a host file of cuda/ includes a layer above its own (shared lines: AGENTS.md, "File map").
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { root } from './run.mjs';

/** Lowest first; those of one line do not know each other. The device backends know the table alone, not who calls it. */
const layers = [['base'], ['device'], ['io', 'cpu', 'cuda'], ['ops'], ['model'], ['diffusion'], ['training'], ['concepts'], ['jobs'], ['addon']];
const floor = new Map(layers.flatMap((names, i) => names.map((name) => [name, i])));
/** io reads files and knows only base; cuda/table.h is what device/cuda_library.h opens. */
const allowed = new Set(['device cuda/table.h']);

const faults = [];
const folders = [...readdirSync(path.join(root, 'csrc')).map((name) => path.join('csrc', name)), 'cuda'];
for (const folder of folders) {
  const layer = path.basename(folder);
  for (const name of readdirSync(path.join(root, folder), { recursive: true })) {
    if (!/\.(h|cc)$/.test(name)) continue;
    const file = path.join(folder, name);
    for (const [, included] of readFileSync(path.join(root, file), 'utf8').matchAll(/^#include "([^"]+\/[^"]+)"/gm)) {
      const other = included.split('/')[0];
      if (other === layer || !floor.has(other) || allowed.has(`${layer} ${included}`)) continue;
      const above = floor.get(other) >= floor.get(layer);
      if (above) faults.push(`${file} includes ${included}, which is not below it`);
    }
  }
}
for (const fault of faults) console.error(fault);
if (faults.length > 0) process.exit(1);
