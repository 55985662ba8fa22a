// The report in words and tables.
import { mean } from './vectors.mjs';

const percent = (value, digits = 0) => `${(100 * value).toFixed(digits)} %`;
const three = (value) => value.toFixed(3);
const arrow = ({ untouched, shut }, key, format = three) => `${format(untouched[key])} → ${format(shut[key])}`;
const losses = ({ subject, prior }) => `${subject.toFixed(4)} / ${prior.toFixed(4)}`;
const besideRandom = ({ shut, random }) => `${losses(shut)} (${losses(random)})`;
const mib = (bytes) => `${Math.round(bytes / 2 ** 20)} MiB`;

/** A Markdown table. */
const table = (head, rows) => [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');

/** The same shape as the results, with the mean wherever they have a number. */
export function meanOf(values) {
  const [first] = values;
  if (typeof first === 'number') return mean(values);
  if (Array.isArray(first)) return first.map((_, i) => meanOf(values.map((value) => value[i])));
  if (typeof first !== 'object' || first === null) return first;
  return Object.fromEntries(Object.keys(first).map((key) => [key, meanOf(values.map((value) => value[key]))]));
}

export function markdown({ settings, among, costs, results, unions, ceiling }, name) {
  const all = [...results, { ...meanOf(results.map((result) => ({ ...result, sweep: 0 }))), subject: '**mean**' }];
  const wins = results.filter(({ identifier: { untouched, shut } }) => shut.nearest > 0.5 && shut.nearest > untouched.nearest).length;
  const searchSeconds = mean(results.map(({ seconds }) => seconds.search));
  const searches = mean(results.map(({ seconds }) => seconds.all));
  const judges = results[0].mobilenet ? ['mini-clip', 'MobileNet'] : ['mini-clip'];
  return `# The sample subjects on models/mini

Written by \`npm run mini:report\`; ${results.length} subjects, four new scenes each, ${settings.pictures} pictures a scene, 20 steps, guidance ${settings.guidance};
search options ${JSON.stringify(settings.options)} (others: the defaults), ${settings.captions ? "the pictures' own captions" : 'the default caption'}; base model
\`${settings.fingerprint.slice(0, 19)}…\`. Arrows: untouched model → concept neurons shut; the untouched model gets the rare token for the identifier.

![pictures](${name}.jpg)

One row per subject: its own picture, then for each of four scenes the untouched model with the rare token, the shut model with
the identifier, and the shut model with the bare category.

## With the identifier, in new scenes

Nearest: share of the pictures whose nearest subject, among all ${among}, is the right one (chance ${percent(1 / among)}); in \`models/mini-clip\`${judges.length > 1 ? '\nand in MobileNetV2\'s ImageNet features' : ''}.
Image: mean cosine to the subject's own pictures; text: to the prompt without the identifier (paper §4.1), both in mini-clip. For
${wins} of ${results.length} subjects most pictures are nearest to their own subject, and more than of the untouched model's.

${table(
    ['subject', 'density', ...judges.map((judge) => `nearest, ${judge}`), 'image', 'text'],
    all.map(({ subject, density, identifier, mobilenet }) => [
      subject, percent(density, 2), arrow(identifier, 'nearest', percent),
      ...(mobilenet ? [`${percent(mobilenet.untouched)} → ${percent(mobilenet.shut)}`] : []),
      arrow(identifier, 'image'), arrow(identifier, 'text'),
    ]),
  )}

## Without it

The same with the bare category and with another category (house, or tree), which should stay as the untouched model draws
them. Change: mean absolute difference (0 … 1) that shutting makes to a picture.

${table(
    ['subject', ...judges.map((judge) => `category: nearest, ${judge}`), 'image', 'text', 'change', 'other: image', 'text', 'change'],
    all.map(({ subject, category, other, mobilenet }) => [
      subject, arrow(category, 'nearest', percent),
      ...(mobilenet ? [`${percent(mobilenet.bareUntouched)} → ${percent(mobilenet.bareShut)}`] : []),
      arrow(category, 'image'), arrow(category, 'text'), three(category.change),
      arrow(other, 'image'), arrow(other, 'text'), three(other.change),
    ]),
  )}

## Losses on held-out noise

Subject / prior loss (Eq. 2 and 3) with neurons shut, in brackets with as many random weights shut. ${settings.everyDensity ? 'Every density has\na search of its own.' : 'All densities are of one\nsearch; a straight-through search is at its best at the one that it was made for.'}

${table(
    ['subject', 'untouched', ...results[0].loss.fixed.map(({ density }) => percent(density)), 'chosen density', 'chosen'],
    all.map(({ subject, loss, density }) => [
      subject, losses(loss.untouched), ...loss.fixed.map(besideRandom), percent(density, 2), besideRandom(loss),
    ]),
  )}
${unions.length > 0 ? unionText(unions, among, name) : ''}${ceiling.length > 0 ? ceilingText(ceiling) : ''}
## Time and memory

With ${costs.threads} threads: loading ${costs.load.toFixed(1)} s; a picture of 20 steps with guidance ${costs.picture.seconds.toFixed(2)} s, at most ${mib(costs.picture.peak)} of weights and tensors;
a search ${searchSeconds.toFixed(1)} s, with pictures of the category and its own report ${searches.toFixed(1)} s, at most ${mib(costs.search.peak)}, and ${mib(costs.search.rss)} resident in the whole
process, CLIP pair included. This report: ${(costs.total / 60).toFixed(1)} min.
`;
}

const unionText = (unions, among, name) => `
## Two subjects

![two subjects](${name}-unions.jpg)

One row per pair: both subjects' own pictures; each drawn alone with the refined concept (two pictures each); then "a photo of a … next
to a … on the grass" and in three more scenes, by the untouched model, with the union of both concepts' neurons shut (§3.2), and with
the refined concept (\`engine.refineConcepts\`, §3.3).

Nearest of all ${among} subjects, and image alignment. Alone: own concept → union → refined (untouched). Together: untouched → union →
refined, of each half's middle square, each subject taken to be in the half where it is more alike; both: share of pictures in
which both halves are nearest to their subjects.

${table(
  ['pair', 'alone: nearest', 'image', 'second alone: nearest', 'image', 'together: nearest', 'image', 'both'],
  [...unions, { ...meanOf(unions), subjects: ['**mean**'] }].map(({ subjects, alone, together }) => [
    subjects.join(' and '),
    ...alone.flatMap((one) => [aloneText(one, 'nearest', percent), aloneText(one, 'image', three)]),
    ...[['nearest', percent], ['image', three], ['both', percent]].map(([key, format]) =>
      [together.untouched, together.union, together.refined].map((one) => format(one[key])).join(' → '),
    ),
  ]),
)}

Losses on held-out noise of the refinements' pictures, half of which show both subjects, with the embeddings of the concepts: subject / prior.

${table(
  ['pair', 'untouched', 'union', 'refined', 'as many random weights'],
  [...unions, { ...meanOf(unions), subjects: ['**mean**'] }].map(({ subjects, loss }) => [
    subjects.join(' and '), losses(loss.untouched), losses(loss.union), losses(loss.shut), losses(loss.random),
  ]),
)}
`;

const aloneText = ({ untouched, own, union, refined }, key, format) =>
  `${[own, union, refined].map((one) => format(one[key])).join(' → ')} (${format(untouched[key])})`;

const ceilingText = (ceiling) => `
## The ceiling: all K-V weights fine-tuned

By \`scripts/mini/report.py --tune-rate\` (PyTorch): 300 steps of Adam on all K-V weights, from the same pictures and captions; beside it the
masks above, measured by the same script on the same noise and prompts. Losses on fresh renders of the subject, and of its category
in training's sprites: untouched → tuned (mask). Nearest and image in mini-clip; change: of pictures of the bare category and of another one.

${table(
  ['subject', 'subject loss', 'prior loss', 'nearest: tuned, mask', 'image: tuned, mask', 'category changed: tuned, mask', 'other changed: tuned, mask'],
  withMean(ceiling.map(ceilingRow)).map(({ subject, loss, prior, nearest, image, category, other }) => [
    subject, beside(loss), beside(prior), nearest.map((value) => percent(value)).join(', '),
    image.map(three).join(', '), category.map(three).join(', '), other.map(three).join(', '),
  ]),
)}
`;

const withMean = (rows) => [...rows, { ...meanOf(rows), subject: '**mean**' }];
const beside = ([untouched, tuned, mask]) => `${three(untouched)} → ${three(tuned)} (${three(mask)})`;

function ceilingRow({ subject, variants: { untouched, tuned, mask } }) {
  const both = (value) => [tuned, mask].map(value);
  return {
    subject,
    loss: [untouched, tuned, mask].map((variant) => variant.subject_loss),
    prior: [untouched, tuned, mask].map((variant) => variant.prior_loss),
    nearest: both(({ identifier }) => identifier.nearest),
    image: both(({ identifier }) => identifier.alignment),
    // Its pictures are in [-1, 1].
    category: both(({ category }) => category.change / 2),
    other: both(({ other }) => other.change / 2),
  };
}
