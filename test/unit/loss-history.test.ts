// The losses of a search, thinned out: means of equal spans of steps, wherever the search was interrupted.
import { LossHistory } from '../../lib/methods/shared/loss-history';

const subject = (step: number) => 1 / step;
const prior = (step: number) => Math.sin(step) ** 2;

function history(steps: number, from = new LossHistory(), begin = 0): LossHistory {
  for (let step = begin + 1; step <= steps; step++) from.add(step, subject(step), prior(step));
  return from;
}

test.each([1, 63, 64, 65, 128, 129, 300, 1000])('%i steps: means of spans of equal length', (steps) => {
  const { step, subject: subjects, prior: priors } = history(steps).curve();
  expect(step.length).toBeLessThanOrEqual(64);
  expect(step.at(-1)).toBe(steps);
  if (steps > 64) expect(step.length).toBeGreaterThan(32);
  step.forEach((last, i) => {
    const span = Array.from({ length: last - (step[i - 1] ?? 0) }, (_, k) => last - k);
    if (i > 0 && i < step.length - 1) expect(span).toHaveLength(step[0]!);
    const mean = (loss: (step: number) => number) => Number((span.reduce((sum, at) => sum + loss(at), 0) / span.length).toPrecision(4));
    expect(subjects[i]).toBeCloseTo(mean(subject), 3);
    expect(priors[i]).toBeCloseTo(mean(prior), 3);
  });
});

test.each([1, 64, 100, 299])('interrupted after %i steps, bit by bit the same', (interrupted) => {
  const bytes = history(interrupted).toBytes();
  expect(bytes).toHaveLength(LossHistory.BYTES);
  const resumed = history(300, LossHistory.fromBytes(bytes), interrupted);
  expect(resumed.toBytes().equals(history(300).toBytes())).toBe(true);
});

test('nothing yet', () => {
  expect(new LossHistory().curve()).toEqual({ step: [], subject: [], prior: [] });
});

test.each([
  ['no power of 2', 0, 3],
  ['less than a step', 0, 0.5],
  ['not a number', 0, NaN],
  ['more steps than there were', 1, 5],
  ['half a step', 1, 0.5],
  ['fewer than none', 1, -1],
  ['an infinite loss', 2, Infinity],
])('damaged bytes: %s', (_, at, value) => {
  const bytes = history(200).toBytes();
  expect(LossHistory.fromBytes(Buffer.from(bytes))).toBeDefined();
  bytes.writeDoubleLE(value, 8 * at);
  expect(LossHistory.fromBytes(bytes)).toBeUndefined();
});
