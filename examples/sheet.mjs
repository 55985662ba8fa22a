// What the examples share: a labelled sheet of pictures, and a line of progress.
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import sharp from 'sharp';

const CELL = 160;
const GAP = 8;
const LABEL = 34;
const CAPTION = 22;

/**
 * Writes rows of pictures to a PNG, each row under its label, each picture over its caption.
 * @param {string} file
 * @param {{ label: string, pictures: (string | import('cones').Picture)[], captions?: string[] }[]} rows
 *   pictures: files, or pictures in memory
 */
export async function writeSheet(file, rows) {
  const columns = Math.max(...rows.map(({ pictures }) => pictures.length));
  const width = columns * (CELL + GAP) + GAP;
  const layers = [];
  const texts = [];
  let top = 0;
  for (const { label, pictures, captions = [] } of rows) {
    texts.push(text(GAP, top + LABEL - 12, 15, label));
    top += LABEL;
    for (const [i, picture] of pictures.entries()) {
      layers.push({ input: await cell(picture), left: GAP + i * (CELL + GAP), top });
      if (captions[i]) texts.push(text(GAP + i * (CELL + GAP), top + CELL + CAPTION - 7, 12, captions[i]));
    }
    top += CELL + (captions.length > 0 ? CAPTION : 0);
  }
  const height = top + GAP;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">${texts.join('')}</svg>`;
  await mkdir(path.dirname(file), { recursive: true });
  await sharp({ create: { width, height, channels: 3, background: 'white' } })
    .composite([...layers, { input: Buffer.from(svg), left: 0, top: 0 }])
    .removeAlpha()
    .png()
    .toFile(file);
}

function cell(picture) {
  const image =
    typeof picture === 'string'
      ? sharp(picture)
      : sharp(picture.data, { raw: { width: picture.width, height: picture.height, channels: 3 } });
  return image.resize(CELL, CELL).png().toBuffer();
}

function text(x, y, size, content) {
  const escaped = content.replace(/[&<>]/g, (c) => `&#${c.charCodeAt(0)};`);
  return `<text x="${x}" y="${y}" font-family="sans-serif" font-size="${size}">${escaped}</text>`;
}

/** Progress on one line of the terminal; nothing where nobody watches. */
export function progressLine(label) {
  return ({ phase, step, steps }) => {
    if (!process.stderr.isTTY) return;
    process.stderr.write(`\r${label}${phase ? `, ${phase}` : ''}: ${step} of ${steps}\u001b[K${step === steps ? '\r\u001b[K' : ''}`);
  };
}
