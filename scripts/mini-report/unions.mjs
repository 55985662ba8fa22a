// Two subjects in one picture: the union of their neurons (paper §3.2), told apart by halves.
import sharp from 'sharp';
import { phrase } from './pictures.mjs';
import { mean } from './vectors.mjs';

const SCENES = ['on the grass', 'in the snow', 'in a room', 'on a yellow background'];

/** Up to `count` pairs of neighbours of different categories. */
export function pairsOf(concepts, count) {
  const pairs = [];
  for (let i = 0; i + 1 < concepts.length; i += 2) pairs.push([concepts[i], concepts[i + 1]]);
  return pairs.filter(([a, b]) => a.subject.category !== b.subject.category).slice(0, count);
}

/**
 * Of pictures of "a V1* cat to the left of a V2* dog": each subject in its own half, drawn by the untouched model (with the rare
 * tokens) and with both concepts' neurons shut. A half is judged by its middle square, where models/mini puts things.
 */
export async function measureUnion(draw, judge, pair) {
  const result = { subjects: pair.map(({ subject }) => subject.name), left: {}, right: {}, text: {} };
  for (const [when, name, concepts] of [
    ['untouched', 'token', []],
    ['shut', 'identifier', pair.map(({ concept }) => concept)],
  ]) {
    const halves = { left: [], right: [] };
    const texts = [];
    for (const scene of SCENES) {
      const prompt = (key) => {
        const [a, b] = pair.map(({ subject, concept }) => phrase(key ? concept.subjects[0][key] : '', subject.category));
        return `a photo of ${a} to the left of ${b} ${scene}`;
      };
      const files = await Promise.all((await draw(prompt(name), concepts)).map((image) => image.toBuffer()));
      texts.push((await judge.measure(files, pair[0].subject, prompt())).text);
      for (const [i, side] of ['left', 'right'].entries()) {
        const { subject } = pair[i];
        const cut = await Promise.all(files.map((file) => half(file, i)));
        halves[side].push(await judge.measure(cut, subject, `a photo of ${phrase('', subject.category)} ${scene}`));
      }
    }
    for (const side of ['left', 'right']) {
      result[side][when] = { nearest: mean(halves[side].map((m) => m.nearest)), image: mean(halves[side].map((m) => m.image)) };
    }
    result.text[when] = mean(texts);
  }
  return result;
}

async function half(file, right) {
  const picture = sharp(file);
  const { width, height } = await picture.metadata();
  const side = Math.min(Math.floor(width / 2), height);
  return picture.extract({ left: right ? width - side : 0, top: Math.floor((height - side) / 2), width: side, height: side }).png().toBuffer();
}
