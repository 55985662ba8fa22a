/** The page of `cones report`: one file that needs no other, no script and no server. */
import type { Concept, ConceptInfo } from '../concept';
import { encodeImage } from '../images/images';
import { version } from '../version';
import { type Described, describedReport } from './describe-concept';
import { bar, escaped, lineChart } from './report-charts';
import { count, percent } from './table';

/** Pictures of one prompt, as files' bytes. */
export interface PromptPictures {
  readonly prompt: string;
  readonly before: readonly Buffer[];
  readonly after: readonly Buffer[];
}

/** Cells of a side of a mask's picture, at most. */
const CELLS = 48;

const STYLE = `
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
table { border-collapse: collapse } td, th { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #ddd } td:first-child, th:first-child { text-align: left }
svg { max-width: 40rem; font: 12px system-ui, sans-serif } svg .grid { stroke: #ddd } .end { text-anchor: end } .middle { text-anchor: middle }
.bar { width: 8rem; height: .7rem } .mask { width: 6rem; height: 6rem; image-rendering: pixelated; background: #000 } .picture { width: 12rem; margin: 0 .3rem .3rem 0 }
code { word-break: break-all } .note { color: #666 }`;

export async function reportPage(file: string, concept: Concept, pictures: readonly PromptPictures[]): Promise<string> {
  const info = concept.info();
  const report = describedReport(info);
  const title = escaped(`${info.subjects.map(({ identifier, category }) => `${identifier} ${category}`).join(', ')}: concept neurons`);
  const sections = [summary(file, info), ...(report ? [losses(report), history(report), sweep(report), measures(report)] : []), drawn(pictures), await masks(concept, info)];
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>${title}</title><style>${STYLE}</style></head><body>
<h1>${title}</h1>
${sections.filter((section) => section !== '').join('\n')}
<p class="note">cones ${escaped(version)}</p>
</body></html>
`;
}

function section(title: string, ...content: readonly string[]): string {
  return content.some((part) => part !== '') ? `<h2>${escaped(title)}</h2>\n${content.join('\n')}` : '';
}

/** Cells are HTML; texts of others are escaped before. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const row = (cells: readonly string[], tag: string) => `<tr>${cells.map((cell) => `<${tag}>${cell}</${tag}>`).join('')}</tr>`;
  return `<table>${row(head.map(escaped), 'th')}${rows.map((cells) => row(cells, 'td')).join('')}</table>`;
}

function summary(file: string, info: ConceptInfo): string {
  const { subjects, neuronCount, weightCount, density, method, steps, engineVersion, device, precision, byteLength, fingerprint, hash } = info;
  const rows: [string, string][] = [
    ['file', `${file}, ${count(byteLength)} bytes`],
    ...subjects.map(({ identifier, category, token, embedding }): [string, string] => ['subject', `${identifier} ${category} (token "${token}"${embedding ? ', learned embedding' : ''})`]),
    ['neurons', `${count(neuronCount)} of ${count(weightCount)} K-V weights, ${percent(density)}`],
    ['found by', `${method}${steps ? `, ${count(steps)} steps` : ''}${device ? ` on ${device}` : ''}${precision ? ` in ${precision}` : ''}, cones ${engineVersion}`],
    ['hash', hash],
    ['base model', fingerprint],
  ];
  return `<table>${rows.map(([name, value]) => `<tr><td>${escaped(name)}</td><td style="text-align:left"><code>${escaped(value)}</code></td></tr>`).join('')}</table>`;
}

function losses({ loss }: Described): string {
  const row = (name: string, { subject, prior }: { subject: number; prior: number }) => [name, subject.toFixed(4), prior.toFixed(4)];
  return section('Loss on held-out noise', table(['', 'subject', 'prior'], [
    row('untouched model', loss.untouched),
    ...(loss.union ? [row('union of the concepts zeroed', loss.union)] : []),
    row('concept neurons shut', loss.shut),
    row('as many random weights shut', loss.random),
  ]));
}

function history({ history: curve }: Described): string {
  if (!curve) return '';
  const points = (values: readonly number[]) => curve.step.slice(0, values.length).map((step, i) => [step, values[i]!] as const);
  return section('Loss during the search', lineChart([{ name: 'subject', points: points(curve.subject) }, { name: 'prior', points: points(curve.prior) }], { x: 'step', y: 'mean loss' }));
}

function sweep({ sweep: entries }: Described): string {
  const sorted = [...entries].sort((a, b) => a.density - b.density);
  const points = (name: 'subject' | 'prior') => sorted.map((entry) => [100 * entry.density, entry[name]] as const);
  return section('Densities tried', lineChart([{ name: 'subject', points: points('subject') }, { name: 'prior', points: points('prior') }], { x: 'density in % (logarithmic)', y: 'loss on held-out noise', logarithmic: true }));
}

function measures({ pictures }: Described): string {
  if (!pictures) return '';
  const { likeness, alignment, prompts, change } = pictures;
  const names = ['identifier', 'category', 'other'] as const;
  const rows = names.map((name) => [
    escaped(prompts[name]),
    ...[likeness[name], ...(alignment ? [alignment[name].image, alignment[name].text] : [])].flatMap(({ untouched, shut }) => [untouched.toFixed(3), shut.toFixed(3)]),
    name === 'identifier' ? '' : change[name].toFixed(3),
  ]);
  const head = ['likeness of colours', ...(alignment ? ['CLIP, image', 'CLIP, text'] : [])].flatMap((name) => [`${name}: before`, 'after']);
  return section('Pictures measured in the search', table(['prompt', ...head, 'change'], rows));
}

function drawn(pictures: readonly PromptPictures[]): string {
  const images = (files: readonly Buffer[], alt: string) => files.map((bytes) => `<img class="picture" alt="${escaped(alt)}" src="data:image/jpeg;base64,${bytes.toString('base64')}">`).join('');
  return section('Before and after', ...pictures.map(({ prompt, before, after }) =>
    `<h3>${escaped(prompt)}</h3>\n<p>untouched model<br>${images(before, `${prompt}, untouched model`)}</p>\n<p>neurons shut<br>${images(after, `${prompt}, neurons shut`)}</p>`));
}

/** A row for each weight: how many of its neurons are shut, and where they lie. */
async function masks(concept: Concept, { tensors }: ConceptInfo): Promise<string> {
  const most = Math.max(0, ...tensors.map(({ density }) => density));
  const rows: string[][] = [];
  const data = concept.tensors;
  for (const { name, shape, neuronCount, density } of tensors) {
    const picture = await maskPicture(data.get(name)!.indices, shape);
    rows.push([escaped(name), shape.map(count).join(' × '), count(neuronCount), percent(density), bar(density, most), `<img class="mask" alt="${escaped(`mask of ${name}`)}" src="data:image/png;base64,${picture.toString('base64')}">`]);
  }
  return section('Masks', '<p class="note">Each picture is a weight, outputs from top to bottom and inputs from left to right: the brighter, the more of the weights there are shut, the brightest cell of each picture being white.</p>', table(['weight', 'outputs × inputs', 'neurons', 'density', '', 'mask'], rows));
}

/** Densities of a weight's cells, the highest white. */
async function maskPicture(indices: Uint32Array, shape: readonly number[]): Promise<Buffer> {
  const [out, across] = [shape[0] ?? 1, shape.slice(1).reduce((a, b) => a * b, 1)];
  const [height, width] = [Math.min(out, CELLS), Math.min(across, CELLS)];
  const cells = new Float64Array(height * width);
  for (const index of indices) {
    const [row, column] = [Math.floor(index / across), index % across];
    cells[Math.floor((row * height) / out) * width + Math.floor((column * width) / across)]! += 1;
  }
  const most = cells.reduce((a, b) => Math.max(a, b), 1);
  const data = new Uint8Array(3 * cells.length);
  cells.forEach((value, i) => data.fill(Math.round((255 * value) / most), 3 * i, 3 * i + 3));
  return encodeImage({ width, height, data }, { format: 'png' });
}
