import { machineWarnings } from '../../lib/engine/machine-warnings';
import { searchWorse, singlePicture } from '../../lib/methods/cones/search-warnings';

const losses = (subject: number, prior: number) => ({ subject, prior });
const codes = (untouched: [number, number], shut: [number, number], priorWeight = 1) =>
  searchWorse({ untouched: losses(...untouched), shut: losses(...shut), random: losses(0, 0) }, priorWeight).map(({ code }) => code);

test.each<[string, [number, number], [number, number], number, boolean]>([
  ['better in both', [0.2, 0.05], [0.05, 0.04], 1, false],
  ['a subject that is learned at some cost', [0.2, 0.05], [0.05, 0.1], 1, false],
  ['a subject that is no better', [0.2, 0.05], [0.2, 0.01], 1, true],
  ['a prior that costs more than the subject gains', [0.2, 0.05], [0.19, 0.07], 1, true],
  ['the same where the prior does not count', [0.2, 0.05], [0.19, 0.07], 0, false],
])('%s', (_, untouched, shut, priorWeight, worse) => {
  expect(codes(untouched, shut, priorWeight)).toEqual(worse ? ['search-worse'] : []);
});

test('pictures are counted, not entries', () => {
  const bytes = Buffer.from('x');
  expect([[], ['a.png'], ['a.png', 'a.png'], [bytes, bytes], ['a.png', 'b.png']].map((images) => singlePicture(images, 'V1*').length)).toEqual([0, 1, 1, 1, 0]);
});

test.each([['scalar', 1], ['avx2', 0], ['avx512', 0]])('%s', (isa, count) => {
  expect(machineWarnings(isa)).toHaveLength(count);
});
