// Searches the concept neurons of the sample subjects with models/mini and measures what is drawn: docs/mini-subjects.md,
// .json and .png.
//   npm run mini:report -- [--subjects N] [--pictures N] [--out DIR] [--options '{"steps": 300, …}']
//
// Likeness is judged in models/mini-clip, whose picture tower never saw a sample subject: the subject whose own pictures are
// nearest to a drawn one, among all sample subjects. Chance is 1 in the number of subjects.
import { readdirSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { root, script } from './run.mjs';

const SCENES = ['on the grass', 'in the snow', 'in a room', 'on a yellow background'];

async function main() {
  const { Clip, cosine, Engine, makeGrid, saveImage } = await import(path.join(root, 'dist/index.mjs'));
  const { values: args } = parseArgs({
    options: {
      subjects: { type: 'string', default: '12' },
      pictures: { type: 'string', default: '2' },
      out: { type: 'string', default: path.join(root, 'docs') },
      model: { type: 'string', default: path.join(root, 'models/mini') },
      clip: { type: 'string', default: path.join(root, 'models/mini-clip') },
      options: { type: 'string', default: '{}' },
    },
  });
  const options = JSON.parse(args.options);
  const count = Number(args.pictures);
  const engine = await Engine.load(args.model);
  const clip = await Clip.load(args.clip);

  const folder = path.join(root, 'examples/subjects');
  const subjects = readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => {
      const { category } = JSON.parse(readFileSync(path.join(folder, name, 'captions.json'), 'utf8'));
      const files = readdirSync(path.join(folder, name)).filter((file) => file.endsWith('.png'));
      return { name, category, images: files.sort().map((file) => path.join(folder, name, file)) };
    });
  for (const subject of subjects) subject.own = normalised(await clip.embedImages(subject.images));

  const nearest = (embedding) => argmax(subjects.map(({ own }) => cosine(embedding, own)));
  const measure = async (images, prompt, subject) => {
    const embeddings = await clip.embedImages(await Promise.all(images.map((image) => image.toBuffer())));
    const [text] = await clip.embedTexts([prompt]);
    return embeddings.map((embedding) => ({
      nearest: subjects[nearest(embedding)] === subject ? 1 : 0,
      image: cosine(embedding, subject.own),
      text: cosine(embedding, text),
    }));
  };
  const draw = async (prompt, concepts) => (await engine.generate({ prompt, concepts, count, seed: 1, steps: 20, guidance: 5 })).images;

  const chosen = spread(subjects, Number(args.subjects));
  const results = [];
  const rows = [];
  for (const subject of chosen) {
    const begin = performance.now();
    const concept = await engine.findConcept({
      images: subject.images, category: subject.category, ...options,
      report: { pictures: 0, ...options.report },
    });
    const seconds = (performance.now() - begin) / 1000;
    const token = concept.subjects[0].token;
    const all = { untouched: [], shut: [], bareUntouched: [], bareShut: [] };
    const change = { category: [], other: [] };
    const row = [];
    for (const scene of SCENES) {
      const plain = `a photo of a ${subject.category} ${scene}`;
      const withIdentifier = (name) => `a photo of a ${name} ${subject.category} ${scene}`;
      const pictures = {
        untouched: await draw(withIdentifier(token), []),
        shut: await draw(withIdentifier('V1*'), [concept]),
        bareUntouched: await draw(plain, []),
        bareShut: await draw(plain, [concept]),
      };
      for (const [kind, images] of Object.entries(pictures)) all[kind].push(...(await measure(images, plain, subject)));
      const other = `a photo of a ${subject.category === 'tree' ? 'house' : 'tree'} ${scene}`;
      const others = [await draw(other, []), await draw(other, [concept])];
      change.category.push(...pictures.bareShut.map((image, i) => difference(image, pictures.bareUntouched[i])));
      change.other.push(...others[1].map((image, i) => difference(image, others[0][i])));
      row.push(pictures.untouched[0], pictures.shut[0], pictures.bareShut[0]);
    }
    const { loss, sweep } = concept.report;
    results.push({
      subject: subject.name, category: subject.category, density: concept.density, seconds, loss, sweep,
      ...Object.fromEntries(Object.entries(all).map(([kind, list]) => [kind, {
        nearest: mean(list.map((m) => m.nearest)), image: mean(list.map((m) => m.image)), text: mean(list.map((m) => m.text)),
      }])),
      change: { category: mean(change.category), other: mean(change.other) },
    });
    rows.push(row);
    console.error(summary(results.at(-1)));
  }

  const markdown = report(results, subjects.length, engine, options, count);
  const base = path.join(args.out, 'mini-subjects');
  await writeFile(`${base}.json`, `${JSON.stringify(results, null, 1)}\n`);
  await writeFile(`${base}.md`, markdown);
  await saveImage(`${base}.png`, makeGrid(rows.flat(), SCENES.length * 3));
  console.log(markdown);
  await Promise.all([engine.dispose(), clip.dispose()]);
}

function report(results, among, engine, options, count) {
  const percent = (value) => `${(100 * value).toFixed(0)} %`;
  const line = (r) =>
    `| ${r.subject} | ${(100 * r.density).toFixed(2)} | ${r.loss.untouched.subject.toFixed(4)} / ${r.loss.shut.subject.toFixed(4)} / ${r.loss.random.subject.toFixed(4)} | ` +
    `${r.loss.untouched.prior.toFixed(4)} / ${r.loss.shut.prior.toFixed(4)} | ${percent(r.untouched.nearest)} → ${percent(r.shut.nearest)} | ` +
    `${r.untouched.image.toFixed(3)} → ${r.shut.image.toFixed(3)} | ${r.untouched.text.toFixed(3)} → ${r.shut.text.toFixed(3)} | ` +
    `${percent(r.bareUntouched.nearest)} → ${percent(r.bareShut.nearest)} | ${r.change.category.toFixed(3)} / ${r.change.other.toFixed(3)} | ${r.seconds.toFixed(0)} |`;
  const of = (f) => mean(results.map(f));
  return `# The sample subjects on models/mini

Written by \`npm run mini:report\`; ${results.length} subjects, ${SCENES.length} new scenes, ${count} pictures each, 20 steps, guidance 5,
search options ${JSON.stringify(options)} (others: the defaults), base model \`${engine.fingerprint.slice(0, 19)}…\`.

Nearest: share of the pictures whose nearest subject, among all ${among} sample subjects in \`models/mini-clip\`, is the right one
(chance ${percent(1 / among)}). Image: cosine with the subject's own pictures; text: with the prompt without the identifier. Arrows: untouched
model → concept neurons shut. Change: mean absolute difference (0 … 1) that shutting makes to pictures of the bare category / of
another category. Losses on held-out noise: untouched / shut / as many random weights shut.

| subject | density % | subject loss | prior loss | nearest | image | text | nearest, bare category | change | search s |
|---|---|---|---|---|---|---|---|---|---|
${results.map(line).join('\n')}
| **mean** | ${(100 * of((r) => r.density)).toFixed(2)} | ${of((r) => r.loss.untouched.subject).toFixed(4)} / ${of((r) => r.loss.shut.subject).toFixed(4)} / ${of((r) => r.loss.random.subject).toFixed(4)} | ${of((r) => r.loss.untouched.prior).toFixed(4)} / ${of((r) => r.loss.shut.prior).toFixed(4)} | ${percent(of((r) => r.untouched.nearest))} → ${percent(of((r) => r.shut.nearest))} | ${of((r) => r.untouched.image).toFixed(3)} → ${of((r) => r.shut.image).toFixed(3)} | ${of((r) => r.untouched.text).toFixed(3)} → ${of((r) => r.shut.text).toFixed(3)} | ${percent(of((r) => r.bareUntouched.nearest))} → ${percent(of((r) => r.bareShut.nearest))} | ${of((r) => r.change.category).toFixed(3)} / ${of((r) => r.change.other).toFixed(3)} | ${of((r) => r.seconds).toFixed(0)} |

![pictures](mini-subjects.png)

One row per subject, three pictures per scene (${SCENES.join(', ')}): the untouched model with the rare token, the shut model with the
identifier, the shut model with the bare category.
`;
}

const summary = (r) =>
  `${r.subject}: density ${(100 * r.density).toFixed(2)} %, nearest ${r.untouched.nearest.toFixed(2)} → ${r.shut.nearest.toFixed(2)}, ` +
  `image ${r.untouched.image.toFixed(3)} → ${r.shut.image.toFixed(3)}, text ${r.untouched.text.toFixed(3)} → ${r.shut.text.toFixed(3)}, ` +
  `change ${r.change.category.toFixed(3)}/${r.change.other.toFixed(3)}, ${r.seconds.toFixed(0)} s`;

const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
const argmax = (values) => values.indexOf(Math.max(...values));
const difference = (a, b) => mean(Array.from(a.data, (value, i) => Math.abs(value - b.data[i]) / 255));

/** The direction of the mean of unit vectors. */
function normalised(vectors) {
  const sum = vectors[0].map((_, i) => mean(vectors.map((vector) => vector[i])));
  const length = Math.hypot(...sum);
  return sum.map((value) => value / length);
}

/** `count` entries, evenly spread over the list. */
const spread = (list, count) => Array.from({ length: Math.min(count, list.length) }, (_, i) => list[Math.floor((i * list.length) / Math.min(count, list.length))]);

await script(main);
