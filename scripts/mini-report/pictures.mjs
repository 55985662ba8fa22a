// What is drawn of one subject in scenes that its own pictures do not show, and what shutting its neurons does elsewhere.
import { createRequire } from 'node:module';
import { mean } from './vectors.mjs';

const { meanDifference } = createRequire(import.meta.url)('../../dist/analysis/metrics.js');

/**
 * `identifier`, `category` (bare) and `other` (another category), each untouched and shut, and the pictures by kind and scene.
 * The untouched model knows no identifier: it gets the rare token itself.
 */
export async function measurePictures(draw, judge, subject, concept) {
  const { category, scenes } = subject;
  const [{ identifier, token }] = concept.subjects;
  const other = category === 'tree' ? 'house' : 'tree';
  const kinds = {
    untouched: [token, category, []],
    shut: [identifier, category, [concept]],
    bareUntouched: ['', category, []],
    bareShut: ['', category, [concept]],
    otherUntouched: ['', other, []],
    otherShut: ['', other, [concept]],
  };
  const pictures = {};
  const measured = {};
  for (const [kind, [name, noun, concepts]] of Object.entries(kinds)) {
    pictures[kind] = [];
    const perScene = [];
    for (const scene of scenes) {
      const images = await draw(caption(name, noun, scene), concepts);
      pictures[kind].push(images);
      perScene.push(await judge.measure(await Promise.all(images.map((image) => image.toBuffer())), subject, caption('', noun, scene)));
    }
    measured[kind] = Object.fromEntries(['nearest', 'image', 'text'].map((key) => [key, mean(perScene.map((scene) => scene[key]))]));
  }
  const change = (before, after) => mean(pictures[before].flat().map((image, i) => meanDifference(image, pictures[after].flat()[i])));
  return {
    pictures,
    identifier: { untouched: measured.untouched, shut: measured.shut },
    category: { untouched: measured.bareUntouched, shut: measured.bareShut, change: change('bareUntouched', 'bareShut') },
    other: { untouched: measured.otherUntouched, shut: measured.otherShut, change: change('otherUntouched', 'otherShut') },
  };
}

/** "a photo of a V1* apple on the grass"; "an apple" without a name */
export function caption(name, noun, scene) {
  return `a photo of ${phrase(name, noun)} ${scene}`;
}

export function phrase(name, noun) {
  const words = [name, noun].filter(Boolean).join(' ');
  return `${/^[aeiou]/.test(words) ? 'an' : 'a'} ${words}`;
}
