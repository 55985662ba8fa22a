// Two subjects in one picture: the neurons of both concepts are shut, and nothing else is done (paper §3.2); then they are
// refined together (§3.3).
//   node examples/two-subjects.mjs        writes out/two-subjects.png
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Concept, Engine, readSubject } from 'cones';
import { progressLine, writeSheet } from './sheet.mjs';

const SUBJECTS = ['taxi', 'unicorn'];
const SCENES = ['on the beach', 'in the snow', 'in a green field', 'at sunset', 'in a room'];
const DRAWING = { seed: 1, steps: 25, guidance: 5 };

const root = fileURLToPath(new URL('..', import.meta.url));
const engine = await Engine.load(path.join(root, 'models', 'mini'));

const concepts = [];
const subjects = [];
const rows = [];
for (const [i, subject] of SUBJECTS.entries()) {
  const identifier = `V${i + 1}*`;
  const found = await readSubject(path.join(root, 'examples', 'subjects', subject), { identifier });
  const { images, category, captions } = found;
  const concept = await engine.findConcept({
    ...found,
    others: concepts, // takes a rare word that the other subject does not have
    report: { pictures: 0 },
    onProgress: progressLine(subject),
  });
  console.log(`${identifier} ${category}: ${concept.neuronCount} concept neurons (${(100 * concept.density).toFixed(2)} %)`);
  concepts.push(concept);
  subjects.push({ concept, images, captions });
  rows.push({ label: `${identifier}: ${subject}`, pictures: images });
}

const [first, second] = concepts;
const { shared, jaccard, expectedShared } = Concept.jaccard(first, second);
console.log(`Shared: ${shared} (${expectedShared.toFixed(0)} by chance), Jaccard index ${(100 * jaccard).toFixed(2)} %`);

const both = Concept.union(first, second);
const refined = await engine.refineConcepts({ subjects, onProgress: progressLine('Refining') });
const draw = async (name, concepts) => {
  const things = both.subjects.map((subject) => `a ${name(subject)} ${subject.category}`).join(' next to ');
  const prompt = SCENES.map((scene) => `${things} ${scene}`);
  const { images } = await engine.generate({ ...DRAWING, prompt, concepts, onProgress: progressLine('Drawing') });
  return { label: `"${things} ..."`, pictures: images, captions: SCENES };
};
// The untouched model knows no identifiers: it gets the rare words that they stand for.
const untouched = await draw(({ token }) => token, []);
const shut = await draw(({ identifier }) => identifier, [both]);
const together = await draw(({ identifier }) => identifier, [refined]);
const output = path.join(root, 'out', 'two-subjects.png');
await writeSheet(output, [
  ...rows,
  { ...untouched, label: `Untouched model: ${untouched.label}` },
  { ...shut, label: `Neurons of both shut: ${shut.label}` },
  { ...together, label: `Refined together: ${together.label}` },
]);
await engine.dispose();
console.log(`See ${path.relative(process.cwd(), output)}.`);
