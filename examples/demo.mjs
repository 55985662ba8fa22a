// npm run demo, or node examples/demo.mjs SUBJECT: finds the concept neurons of a sample subject, and draws it in new scenes with them shut.
// Writes out/demo.png: the subject; the untouched model; and from the same seeds with the concept neurons shut, prompts with
// the identifier, which show the subject, and without it, which do not.
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Engine, readSubject } from 'cones';
import { progressLine, writeSheet } from './sheet.mjs';

const SUBJECT = process.argv[2] ?? 'boar';
/** Places where none of the subject's pictures shows it. */
const SCENES = ['on the grass', 'in a room', 'at sunset', 'on a red background', 'on a blue background'];
const DRAWING = { seed: 1, steps: 25, guidance: 5 };

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = path.join(root, 'examples', 'subjects', SUBJECT);
const output = path.join(root, 'out', 'demo.png');
const start = performance.now();
const seconds = () => `${((performance.now() - start) / 1000).toFixed(0)} s`;

const subject = await readSubject(folder);
const { images: pictures, category } = subject;

const engine = await Engine.load(path.join(root, 'models', 'mini'));
console.log(`Searching the concept neurons of ${SUBJECT} in ${pictures.length} pictures …`);
const concept = await engine.findConcept({ ...subject, report: { pictures: 0 }, onProgress: progressLine('Searching') });
const { loss } = concept.report;
console.log(
  `${concept.neuronCount} concept neurons, ${(100 * concept.density).toFixed(2)} % of the K-V weights, after ${seconds()}. ` +
    `Loss on held-out noise: ${loss.untouched.subject.toFixed(4)} untouched, ${loss.shut.subject.toFixed(4)} with them shut, ` +
    `${loss.random.subject.toFixed(4)} with as many random weights shut.`,
);

console.log(`Drawing ${SCENES.length} new scenes …`);
/** With a name before the category, V1* or the rare word, or without. */
const prompts = (name) => {
  const article = !name && /^[aeiou]/.test(category) ? 'an' : 'a';
  return SCENES.map((scene) => `a photo of ${[article, name, category].filter(Boolean).join(' ')} ${scene}`);
};
const draw = async (prompt, concepts) => {
  const { images } = await engine.generate({ ...DRAWING, prompt, concepts, onProgress: progressLine('Drawing') });
  return images;
};
// The untouched model knows no V1*: it gets the rare word that the identifier stands for.
const [{ token }] = concept.subjects;
const untouched = await draw(prompts(token), []);
const shut = await draw(prompts('V1*'), [concept]);
const without = await draw(prompts(), [concept]);
await writeSheet(output, [
  { label: `The subject: ${SUBJECT}`, pictures },
  { label: `Untouched model: "a photo of a ${token} ${category} ..."`, pictures: untouched, captions: SCENES },
  { label: `Concept neurons shut: "a photo of a V1* ${category} ..."`, pictures: shut, captions: SCENES },
  { label: `The same without the identifier: "a photo of a ${category} ..."`, pictures: without, captions: SCENES },
]);
const file = path.join(root, 'out', `${SUBJECT}.cones`);
await concept.save(file);
await engine.dispose();
const relative = (file) => path.relative(process.cwd(), file);
console.log(`Done in ${seconds()}: see ${relative(output)}; the concept is ${relative(file)}.`);
