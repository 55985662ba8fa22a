// The nearest-subject test once more in MobileNetV2's ImageNet features: a second opinion by a network that knows nothing of
// models/mini. Needs Python with PyTorch, and the weights.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { root, run } from '../run.mjs';
import { mean, nearest, normalised } from './vectors.mjs';

/** Per subject of `drawn` and kind of picture, the share of pictures whose nearest subject is the right one. */
export async function mobilenetVerdicts({ mobilenet, python }, subjects, drawn) {
  const kinds = ['untouched', 'shut', 'bareUntouched', 'bareShut'];
  const folder = await mkdtemp(path.join(os.tmpdir(), 'cones-'));
  try {
    const files = subjects.flatMap(({ images }) => images);
    for (const [i, { pictures }] of drawn.entries()) {
      for (const kind of kinds) {
        for (const [j, image] of pictures[kind].flat().entries()) {
          const file = path.join(folder, `${i}-${kind}-${j}.png`);
          await image.save(file);
          files.push(file);
        }
      }
    }
    const [list, out] = [path.join(folder, 'files.json'), path.join(folder, 'features.bin')];
    await writeFile(list, JSON.stringify(files));
    await run(python, [path.join(root, 'scripts/mini/mobilenet.py'), '--weights', mobilenet, '--files', list, '--out', out]);
    const features = rowsOf(await readFile(out), files.length);
    const take = (count) => features.splice(0, count);
    const centres = subjects.map(({ images }) => normalised(take(images.length)));
    return drawn.map(({ subject, pictures }) => {
      const index = subjects.indexOf(subject);
      const share = (rows) => mean(rows.map((row) => Number(nearest(row, centres) === index)));
      return Object.fromEntries(kinds.map((kind) => [kind, share(take(pictures[kind].flat().length))]));
    });
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Rows of length 1. */
function rowsOf(bytes, count) {
  const values = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  const width = values.length / count;
  return Array.from({ length: count }, (_, i) => normalised([values.slice(i * width, (i + 1) * width)]));
}
