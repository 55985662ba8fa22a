// Two subjects with the union of their neurons shut (paper §3.2), and with their neurons refined together (§3.3): each drawn
// alone, and both in one picture.
import { readSubject } from 'cones';
import sharp from 'sharp';
import { caption, phrase } from './pictures.mjs';
import { mean } from './vectors.mjs';

const SCENES = ['on the grass', 'in the snow', 'in a room', 'on a yellow background'];

/** Up to `count` pairs of neighbours of different categories. */
export function pairsOf(concepts, count) {
  const pairs = [];
  for (let i = 0; i + 1 < concepts.length; i += 2) pairs.push([concepts[i], concepts[i + 1]]);
  return pairs.filter(([a, b]) => a.subject.category !== b.subject.category).slice(0, count);
}

/** The concepts of two subjects refined together, with the captions of their pictures or without. */
export async function refinePair(engine, pair, options, withCaptions) {
  const subjects = [];
  for (const { subject, concept } of pair) {
    const { images, captions } = await readSubject(subject.folder, { identifier: concept.subjects[0].identifier });
    subjects.push({ concept, images, ...(withCaptions ? { captions } : {}) });
  }
  return engine.refineConcepts({ subjects, ...options });
}

/**
 * `alone`: pictures of each subject by itself, with its own concept, with the union and with the refined concept; `together`: of
 * "a V1* cat next to a V2* dog", drawn by the untouched model (with the rare tokens), with the union and with the refined concept;
 * and one picture of each kind and scene.
 */
export async function measureUnion(draw, judge, pair, refined) {
  const kinds = {
    untouched: (i) => [name(pair[i], 'token'), []],
    own: (i) => [name(pair[i], 'identifier'), [pair[i].concept]],
    union: (i) => [name(pair[i], 'identifier'), pair.map(({ concept }) => concept)],
    refined: (i) => [name(pair[i], 'identifier'), [refined]],
  };
  const alone = [];
  const pictures = { alone: [], together: {} };
  for (const [i, { subject }] of pair.entries()) {
    alone.push({});
    for (const [kind, of] of Object.entries(kinds)) {
      const [word, concepts] = of(i);
      const drawn = await drawScenes(draw, (scene) => caption(word, subject.category, scene), concepts);
      alone[i][kind] = await judge.measure(await filesOf(drawn), subject, caption('', subject.category, ''));
      if (kind === 'refined') pictures.alone.push(drawn.map(([first]) => first));
    }
  }
  const together = {};
  for (const kind of ['untouched', 'union', 'refined']) {
    const [a, b] = pair.map(({ subject }, i) => phrase(kinds[kind](i)[0], subject.category));
    const drawn = await drawScenes(draw, (scene) => `a photo of ${a} next to ${b} ${scene}`, kinds[kind](0)[1]);
    pictures.together[kind] = drawn.map(([first]) => first);
    together[kind] = await bothIn(await filesOf(drawn), judge, pair.map(({ subject }) => subject));
  }
  return { subjects: pair.map(({ subject }) => subject.name), alone, together, pictures };
}

/**
 * Who is where is nobody's business: of either half's middle square (there models/mini puts things), the two are
 * taken to be where they are more alike. `nearest`: share of halves nearest to their subject; `both`: of pictures in which
 * both are.
 */
async function bothIn(files, judge, subjects) {
  const halves = await Promise.all([0, 1].map((side) => Promise.all(files.map((file) => half(file, side)))));
  // [subject][side][picture]
  const verdicts = [];
  for (const subject of subjects) verdicts.push([await judge.verdicts(halves[0], subject), await judge.verdicts(halves[1], subject)]);
  const placed = files.map((_, i) => {
    const orders = [[0, 1], [1, 0]].map((sides) => sides.map((side, s) => verdicts[s][side][i]));
    const likeness = orders.map((order) => mean(order.map(({ image }) => image)));
    return orders[likeness[0] >= likeness[1] ? 0 : 1];
  });
  return {
    nearest: mean(placed.flat().map(({ nearest }) => Number(nearest))),
    image: mean(placed.flat().map(({ image }) => image)),
    both: mean(placed.map((order) => Number(order.every(({ nearest }) => nearest)))),
  };
}

const name = ({ concept }, key) => concept.subjects[0][key];

/** Per scene, its pictures. */
async function drawScenes(draw, prompt, concepts) {
  const drawn = [];
  for (const scene of SCENES) drawn.push(await draw(prompt(scene), concepts));
  return drawn;
}

const filesOf = (drawn) => Promise.all(drawn.flat().map((image) => image.toBuffer()));

async function half(file, right) {
  const picture = sharp(file);
  const { width, height } = await picture.metadata();
  const side = Math.min(Math.floor(width / 2), height);
  return picture.extract({ left: right ? width - side : 0, top: Math.floor((height - side) / 2), width: side, height: side }).png().toBuffer();
}
