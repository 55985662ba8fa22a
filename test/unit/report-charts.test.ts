// The report's charts: points where they belong, and texts of others that stay texts.
import { escaped, lineChart } from '../../lib/cli/report-charts';

test('what is a sign in HTML, or commands a terminal, is none', () => {
  expect(escaped(`<script>alert("1")</script>&'\u0000\u202e`)).toBe('&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;\\u0000\\u202e');
});

const coordinates = (svg: string) => [.../<path d="([^"]+)" fill/.exec(svg)![1]!.matchAll(/[ML]([\d.]+) ([\d.]+)/g)].map(([, x, y]) => [Number(x), Number(y)] as const);

test('higher values are higher, later ones further right', () => {
  const points = coordinates(lineChart([{ name: 'loss', points: [[1, 4], [2, 1], [3, 2]] }], { x: 'step', y: 'loss' }));
  expect(points).toHaveLength(3);
  const [[x0, y0], [x1, y1], [x2, y2]] = points as [readonly [number, number], readonly [number, number], readonly [number, number]];
  expect(x1 - x0).toBeCloseTo(x2 - x1, 0);
  expect(x1).toBeGreaterThan(x0);
  // SVG counts from the top.
  expect((y1 - y0) / (y1 - y2)).toBeCloseTo(3, 1);
});

test('on a logarithmic scale equal ratios are equal lengths', () => {
  const [[a], [b], [c]] = coordinates(lineChart([{ name: 'x', points: [[0.1, 1], [1, 2], [10, 3]] }], { x: 'density', y: 'loss', logarithmic: true })).map(([x]) => [x] as const) as [readonly [number], readonly [number], readonly [number]];
  expect(b - a).toBeCloseTo(c - b, 0);
});

test('nothing, one point, and equal values', () => {
  expect(lineChart([], { x: '', y: '' })).toBe('');
  expect(lineChart([{ name: 'x', points: [] }], { x: '', y: '' })).toBe('');
  for (const points of [[[1, 0]], [[1, 5], [2, 5]]] as const) expect(lineChart([{ name: '<b>', points }], { x: 'x', y: 'y' })).not.toMatch(/NaN|Infinity|<b>/);
});
