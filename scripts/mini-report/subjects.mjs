// The sample subjects of examples/subjects/.
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { readSubject } from 'cones';
import sharp from 'sharp';
import { root as repository } from '../run.mjs';

/** What models/mini knows, so that every subject has scenes that its own pictures do not show. */
const SCENES = [
  ...['on the grass', 'in the snow', 'in a room', 'on the beach', 'at sunset', 'at night'],
  ...['yellow', 'blue', 'red', 'white', 'green'].map((colour) => `on a ${colour} background`),
];

/** `{ name, folder, category, images, scenes, picture(width, height) }` of every subject. */
export async function readSubjects() {
  const root = path.join(repository, 'examples/subjects');
  const folders = readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return Promise.all(
    folders.map(async ({ name }) => {
      const folder = path.join(root, name);
      const { category, captions, images } = await readSubject(folder);
      const picture = async (width, height) => {
        const data = await sharp(images[0]).resize(width, height, { fit: 'fill' }).removeAlpha().raw().toBuffer();
        return { width, height, data: new Uint8Array(data) };
      };
      const scenes = SCENES.filter((scene) => !captions.flat().some((caption) => caption.includes(scene))).slice(0, 4);
      return { name, folder, category, images, scenes, picture };
    }),
  );
}

/** As many, evenly spread over the list, or those named. */
export function chooseSubjects(subjects, wanted) {
  if (/^\d+$/.test(wanted)) {
    const count = Math.min(Number(wanted), subjects.length);
    return Array.from({ length: count }, (_, i) => subjects[Math.floor((i * subjects.length) / count)]);
  }
  return wanted.split(',').map((name) => {
    const found = subjects.find((subject) => subject.name === name);
    if (!found) throw new Error(`There is no sample subject "${name}".`);
    return found;
  });
}
