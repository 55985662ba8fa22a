// Searches the concept neurons of the sample subjects with models/mini and measures what is drawn: docs/log/mini-subjects.md,
// .json, .jpg and -unions.jpg.
//   npm run mini:report -- [flags below]
//
// Nothing is judged by what drew it: losses are on held-out noise, each beside a random mask of the same size; likeness is
// judged in models/mini-clip, whose picture tower never saw a sample subject, and with --mobilenet in ImageNet features, too.
import { mkdir, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { ceilingOf } from './mini-report/ceiling.mjs';
import { Judge } from './mini-report/judge.mjs';
import { mobilenetVerdicts } from './mini-report/mobilenet.mjs';
import { measurePictures } from './mini-report/pictures.mjs';
import { severalReport } from './mini-report/several.mjs';
import { findSubject } from './mini-report/search.mjs';
import { chooseSubjects, readSubjects } from './mini-report/subjects.mjs';
import { markdown } from './mini-report/text.mjs';
import { measureUnion, pairsOf, refinePair } from './mini-report/unions.mjs';
import { root, script } from './run.mjs';

const FLAGS = {
  subjects: { type: 'string', default: '12' }, // how many, or names: taxi,mint-dog
  pictures: { type: 'string', default: '2' }, // per prompt; four new scenes for each subject
  unions: { type: 'string', default: '3' }, // pairs of subjects drawn together
  options: { type: 'string', default: '{}' }, // of findConcept, as JSON: '{"steps": 150, "layers": {"self": false}}'
  'refine-options': { type: 'string', default: '{}' }, // of refineConcepts, as JSON
  'default-caption': { type: 'boolean', default: false }, // search with "photo of a V1* cat" instead of the pictures' own captions
  'every-density': { type: 'boolean', default: false }, // search for each density of the table by itself: four times as long
  guidance: { type: 'string', default: '5' }, // of the measured pictures
  out: { type: 'string', default: path.join(root, 'docs/log') },
  name: { type: 'string', default: 'mini-subjects' }, // of the files there
  model: { type: 'string', default: path.join(root, 'models/mini') },
  clip: { type: 'string', default: path.join(root, 'models/mini-clip') },
  mobilenet: { type: 'string' }, // safetensors file of scripts/mini/mobilenet.py: nearest subject in its features, too
  concepts: { type: 'string' }, // folder to write the concepts to, for scripts/mini/report.py --masks
  ceiling: { type: 'string' }, // folder of scripts/mini/report.py's results with --tune-rate
  several: { type: 'boolean', default: false }, // several subjects in one picture instead: docs/log/mini-several.md
  lists: { type: 'string', default: 'all' }, // of lots.json, for --several: '1,2,13'
  methods: { type: 'string', default: 'all' }, // for --several: 'union; regions, own'
  python: { type: 'string', default: 'python3' }, // with PyTorch, for --mobilenet
};

async function main() {
  const { Clip, Engine, makeGrid, saveImage } = await import(path.join(root, 'dist/index.mjs'));
  const { values: flags } = parseArgs({ options: FLAGS });
  await mkdir(flags.out, { recursive: true }); // not after half an hour
  if (flags.concepts) await mkdir(flags.concepts, { recursive: true });
  const begin = performance.now();
  const engine = await Engine.load(flags.model);
  const clip = await Clip.load(flags.clip);
  const subjects = await readSubjects();
  const judge = await Judge.of(clip, subjects);
  if (flags.several) {
    await severalReport({ engine, judge, subjects, makeGrid, saveImage, flags });
    await Promise.all([engine.dispose(), clip.dispose()]);
    return;
  }
  const draw = async (prompt, concepts, seed = 1) => {
    const options = { prompt, concepts, count: Number(flags.pictures), seed, steps: 20, guidance: Number(flags.guidance) };
    return (await engine.generate(options)).images;
  };

  // The first picture comes before any search, so that the peak of memory is its own.
  const costs = { threads: os.availableParallelism(), load: seconds(begin) };
  await draw('a photo of a cat', []);
  const drawing = performance.now();
  await engine.generate({ prompt: 'a photo of a cat', seed: 1, steps: 20, guidance: Number(flags.guidance) });
  costs.picture = { seconds: seconds(drawing), peak: engine.memory().peak };

  const results = [];
  const concepts = [];
  const drawn = [];
  for (const [i, subject] of chooseSubjects(subjects, flags.subjects).entries()) {
    // Neighbours take V1* and V2* in turn, so that they can be drawn together.
    const identifier = i % 2 === 0 ? 'V1*' : 'V2*';
    const options = { ...JSON.parse(flags.options), identifier };
    const how = { withCaptions: !flags['default-caption'], everyDensity: flags['every-density'] };
    const { concept, ...search } = await findSubject(engine, subject, options, how);
    const { pictures, ...measured } = await measurePictures(draw, judge, subject, concept);
    results.push({ subject: subject.name, noun: subject.category, density: concept.density, ...search, ...measured });
    concepts.push({ subject, concept });
    if (flags.concepts) await writeConcept(path.join(flags.concepts, `${subject.name}.json`), concept);
    drawn.push({ subject, pictures });
    console.error(summary(results.at(-1)));
  }
  costs.search = { peak: engine.memory().peak, rss: 1024 * process.resourceUsage().maxRSS };

  const unions = [];
  const drawnTogether = [];
  for (const pair of pairsOf(concepts, Number(flags.unions))) {
    const refined = await refinePair(engine, pair, JSON.parse(flags['refine-options']), !flags['default-caption']);
    const { pictures, ...measured } = await measureUnion(draw, judge, pair, refined);
    unions.push({ ...measured, loss: refined.report.loss, density: refined.density });
    drawnTogether.push({ pair, pictures });
    const { untouched, union, refined: after } = measured.together;
    const nearest = [untouched, union, after].map((one) => one.nearest.toFixed(2)).join(' → ');
    console.error(`${measured.subjects.join(' and ')} drawn together: nearest ${nearest}, both ${union.both.toFixed(2)} → ${after.both.toFixed(2)}`);
  }
  if (flags.mobilenet) {
    const verdicts = await mobilenetVerdicts(flags, subjects, drawn);
    results.forEach((result, i) => Object.assign(result, { mobilenet: verdicts[i] }));
  }
  costs.total = seconds(begin);
  const { guidance, pictures, options } = flags;
  const report = {
    settings: {
      guidance, pictures, options: JSON.parse(options), fingerprint: engine.fingerprint,
      refineOptions: JSON.parse(flags['refine-options']), captions: !flags['default-caption'], everyDensity: flags['every-density'],
    },
    among: subjects.length, costs, results, unions,
    ceiling: flags.ceiling ? ceilingOf(flags.ceiling, results.map(({ subject }) => subject)) : [],
  };

  const base = path.join(flags.out, flags.name);
  await writeFile(`${base}.json`, `${JSON.stringify(report, null, 1)}\n`);
  const text = markdown(report, flags.name);
  await writeFile(`${base}.md`, text);
  const rows = await Promise.all(drawn.map(({ subject, pictures: p }) => gridRow(subject, p)));
  await saveImage(`${base}.jpg`, makeGrid(rows.flat(), rows[0].length));
  if (unions.length > 0) {
    const pairs = await Promise.all(drawnTogether.map(({ pair, pictures: p }) => unionRow(pair, p)));
    await saveImage(`${base}-unions.jpg`, makeGrid(pairs.flat(), pairs[0].length));
  }
  console.log(text);
  await Promise.all([engine.dispose(), clip.dispose()]);
}

/** What PyTorch needs to shut the same neurons. */
async function writeConcept(file, { subjects: [{ token, embedding }], tensors }) {
  const neurons = Object.fromEntries([...tensors].map(([name, { indices }]) => [name, [...indices]]));
  await writeFile(file, JSON.stringify({ token, embedding: embedding ? [...embedding.values] : null, neurons }));
}

/** The subject's own picture, then for every scene: untouched, shut, shut with the bare category. */
async function gridRow(subject, { untouched, shut, bareShut }) {
  const { width, height } = shut[0][0];
  const kinds = [untouched, shut, bareShut];
  return [await subject.picture(width, height), ...shut.flatMap((_, scene) => kinds.map((kind) => kind[scene][0]))];
}

/** Both subjects' own pictures, each alone after refining, then both: the untouched model's pictures, the union's, the refined ones. */
async function unionRow(pair, { alone, together }) {
  const { width, height } = together.union[0];
  const own = await Promise.all(pair.map(({ subject }) => subject.picture(width, height)));
  return [...own, ...alone.flatMap((pictures) => pictures.slice(0, 2)), ...together.untouched, ...together.union, ...together.refined];
}

const seconds = (since) => (performance.now() - since) / 1000;

const summary = ({ subject, density, identifier: { untouched, shut }, category, seconds: took }) =>
  `${subject}: density ${(100 * density).toFixed(2)} %, nearest ${untouched.nearest.toFixed(2)} → ${shut.nearest.toFixed(2)}, ` +
  `image ${untouched.image.toFixed(3)} → ${shut.image.toFixed(3)}, text ${untouched.text.toFixed(3)} → ${shut.text.toFixed(3)}, ` +
  `bare category's image ${category.untouched.image.toFixed(3)} → ${category.shut.image.toFixed(3)}, ${took.all.toFixed(0)} s`;

await script(main);
