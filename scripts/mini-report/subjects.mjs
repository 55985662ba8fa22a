// The sample subjects of examples/subjects/.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import sharp from 'sharp';
import { root } from '../run.mjs';

/** What models/mini knows, so that every subject has scenes that its own pictures do not show. */
const SCENES = [
  ...['on the grass', 'in the snow', 'in a room', 'on the beach', 'at sunset', 'at night'],
  ...['yellow', 'blue', 'red', 'white', 'green'].map((colour) => `on a ${colour} background`),
];

/** `{ name, category, images, captions, scenes, picture(width, height) }` of every subject. */
export function readSubjects() {
  const folder = path.join(root, 'examples/subjects');
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => {
      const { category, captions } = JSON.parse(readFileSync(path.join(folder, name, 'captions.json'), 'utf8'));
      const files = readdirSync(path.join(folder, name)).filter((file) => file.endsWith('.png'));
      const images = files.sort().map((file) => path.join(folder, name, file));
      const picture = async (width, height) => {
        const data = await sharp(images[0]).resize(width, height, { fit: 'fill' }).removeAlpha().raw().toBuffer();
        return { width, height, data: new Uint8Array(data) };
      };
      const scenes = SCENES.filter((scene) => !captions.some((caption) => caption.includes(scene))).slice(0, 4);
      return { name, category, images, captions, scenes, picture };
    });
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
