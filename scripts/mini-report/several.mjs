// Several sample subjects in one picture (npm run mini:report -- --several): the lists of lots.json, four scenes, by method. Every piece
// is kept in .cache/mini-several, so that a run that is cut off goes on where it was.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Concept, readSubject } from 'cones';
import sharp from 'sharp';
import { root } from '../run.mjs';
import { phrase } from './pictures.mjs';
import { mean } from './vectors.mjs';

const SCENES = ['on the grass', 'in the snow', 'in a room', 'on a yellow background'];

/** How each is drawn: which of a subject's searches (SEARCHES), and options of generate. The untouched model gets the rare words. */
const METHODS = {
  untouched: { search: null },
  neurons: { search: 'neurons' },
  union: { search: 'free' },
  'union, tamed': { search: 'free', embeddingNorm: 1 },
  regions: { search: 'free', regions: 'auto' },
  'regions, tamed': { search: 'free', embeddingNorm: 1, regions: 'auto' },
  'regions, own': { search: 'free', regions: 'auto', regionPrompt: 'own' },
  'regions, whole': { search: 'free', regions: 'auto', regionPrompt: 'whole' },
};

/** Options of findConcept. */
const SEARCHES = {
  free: {},
  neurons: { learnEmbedding: false },
};

export async function severalReport({ engine, judge, subjects, makeGrid, saveImage, flags }) {
  const folder = path.join(root, '.cache/mini-several');
  await mkdir(folder, { recursive: true });
  const { identifiers } = JSON.parse(await readFile(path.join(flags.model, 'identifiers.json'), 'utf8'));
  const wanted = flags.lists === 'all' ? () => true : (_, i) => flags.lists.split(',').includes(String(i + 1));
  const lists = JSON.parse(await readFile(new URL('lots.json', import.meta.url), 'utf8')).filter(wanted);
  const methods = flags.methods === 'all' ? Object.keys(METHODS) : flags.methods.split(';').map((name) => name.trim());
  const count = Number(flags.pictures);
  const token = (subject) => identifiers[subjects.indexOf(subject) % identifiers.length];

  /** A subject's concept with the identifier of its place in a list. */
  async function conceptOf(subject, search, place) {
    const file = path.join(folder, `${subject.name}-${search}.cones`);
    const found = await Concept.load(file).catch(() => findOne(subject, search, file));
    return found.with({ subjects: [{ ...found.subjects[0], identifier: `V${place + 1}*` }] });
  }

  async function findOne(subject, search, file) {
    console.error(`${subject.name}: search "${search}"`);
    const { captions, ...rest } = await readSubject(subject.folder, { identifier: 'V1*' });
    const report = { pictures: 0, rows: 8, densities: [0.02] };
    const concept = await engine.findConcept({ ...rest, captions, token: token(subject), report, ...SEARCHES[search] });
    await concept.save(file);
    return concept;
  }

  /** What `measure` returns, from its file when it is there. */
  async function kept(name, measure) {
    const file = path.join(folder, `${name}.json`);
    const known = await readFile(file, 'utf8').then(JSON.parse, () => undefined);
    if (known) return known;
    const result = await measure();
    await writeFile(file, JSON.stringify(result));
    return result;
  }

  /** `{ parts, all, image, alone }` of one list and method. */
  async function measured(names, method) {
    const { search, ...options } = METHODS[method];
    const chosen = names.map((name) => subjects.find((subject) => subject.name === name));
    const concepts = search === null ? [] : await inTurn(chosen, (subject, i) => conceptOf(subject, search, i));
    const word = (i) => phrase(search === null ? token(chosen[i]) : `V${i + 1}*`, chosen[i].category);
    const draw = async (prompt, own, more) =>
      (await engine.generate({ prompt, concepts: own, count, seed: 1, steps: 20, guidance: Number(flags.guidance), ...more })).images;
    const together = [];
    for (const scene of SCENES) together.push(...(await draw(`a photo of ${chosen.map((_, i) => word(i)).join(' next to ')} ${scene}`, concepts, options)));
    const parts = await inTurn(chosen, async (subject, i) => judge.verdicts(await columns(together, i, chosen.length), subject));
    // The ceiling: each drawn alone, the very square of the picture's middle; for all methods with the same concepts.
    const { embeddingNorm } = options;
    const alone = await inTurn(chosen, (subject, i) =>
      kept(`${subject.name}-alone-${search}-${embeddingNorm ?? 'as-found'}-${chosen.length}-${count}-${flags.guidance}`, async () => {
        const pictures = [];
        for (const scene of SCENES) pictures.push(...(await draw(`a photo of ${word(i)} ${scene}`, concepts.slice(i, i + 1), embeddingNorm ? { embeddingNorm } : {})));
        return judge.verdicts(await squares(pictures, chosen.length), subject);
      }),
    );
    const result = {
      parts: mean(parts.flat().map(({ nearest }) => Number(nearest))),
      all: mean(parts[0].map((_, picture) => Number(parts.every((one) => one[picture].nearest)))),
      image: mean(parts.flat().map(({ image }) => image)),
      alone: mean(alone.flat().map(({ nearest }) => Number(nearest))),
    };
    await saveImage(path.join(folder, `${names.join('+')}-${method.replaceAll(/[ ,]+/g, '-')}.png`), makeGrid(together.filter((_, i) => i % count < 2), 8));
    return result;
  }

  const results = [];
  for (const names of lists) {
    for (const method of methods) {
      const name = `${names.join('+')}-${method.replaceAll(/[ ,]+/g, '-')}-${count}-${flags.guidance}`;
      const result = await kept(name, () => measured(names, method));
      results.push({ names, method, ...result });
      console.error(`${names.join(' and ')}, ${method}: parts ${percent(result.parts)}, all ${percent(result.all)}, alone ${percent(result.alone)}`);
    }
  }
  const text = markdown(results, { lists, methods, count, guidance: flags.guidance, whole: flags.lists === 'all' && flags.methods === 'all' });
  await writeFile(path.join(flags.out, 'mini-several.md'), text);
  console.log(text);
}

async function inTurn(values, f) {
  const results = [];
  for (const [i, value] of values.entries()) results.push(await f(value, i));
  return results;
}

/** The middle square of column `i` of `of`, in which a list's subject should be: the prompt names them from left to right. */
const columns = (pictures, i, of) => cut(pictures, (width) => (i + 0.5) * (width / of), of);
/** The same square in the middle of the picture. */
const squares = (pictures, of) => cut(pictures, (width) => width / 2, of);

function cut(pictures, centre, of) {
  return Promise.all(
    pictures.map(async (picture) => {
      const { width, height } = picture;
      // A half at least: a quarter of 64 pixels shows nobody.
      const side = Math.floor(width / Math.min(of, 3));
      const left = Math.round(Math.min(Math.max(centre(width) - side / 2, 0), width - side));
      return sharp(await picture.toBuffer()).extract({ left, top: Math.floor((height - side) / 2), width: side, height: side }).png().toBuffer();
    }),
  );
}

const percent = (value) => `${Math.round(100 * value)} %`;

function markdown(results, { lists, methods, count, guidance, whole }) {
  const sizes = [...new Set(lists.map(({ length }) => length))];
  const row = (method) => [
    method,
    ...sizes.flatMap((size) => {
      const own = results.filter((one) => one.method === method && one.names.length === size);
      return ['parts', 'all', 'alone'].map((key) => percent(mean(own.map((one) => one[key])))).concat(mean(own.map(({ image }) => image)).toFixed(2));
    }),
  ];
  const head = ['method', ...sizes.flatMap((size) => [`${size}: parts`, 'all', 'alone', 'image'])];
  const table = [head, head.map(() => '---'), ...methods.map(row)].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
  const each = results.map(({ names, method, parts, all, alone }) => `| ${names.join(', ')} | ${method} | ${percent(parts)} | ${percent(all)} | ${percent(alone)} |`).join('\n');
  return `# Several sample subjects in one picture

Written by \`npm run mini:report -- --several\`; ${whole ? 'all' : '**a subset**,'} ${lists.length} lists of scripts/mini-report/lots.json, ${SCENES.length} scenes, ${count} pictures each,
20 steps, guidance ${guidance}, models/mini-clip. Parts: share of the columns' middle squares nearest to their subject among 30, the prompt's subjects
from left to right; all: of pictures in which all are; alone: the same square of the middle of pictures of one subject with its own concept;
image: mean cosine of the parts to the subjects' own pictures.

${table}

| subjects | method | parts | all | alone |
| --- | --- | --- | --- | --- |
${each}
`;
}
