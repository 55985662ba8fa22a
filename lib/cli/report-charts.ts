/** Charts of a report as inline SVG: no script, nothing fetched. All texts are escaped here. */
import { visible } from '../util/show';

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/** A text of others in HTML, in an attribute as well. */
export function escaped(text: string): string {
  return visible(text).replace(/[&<>"']/g, (character) => ENTITIES[character]!);
}

export interface Series {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface ChartOptions {
  readonly x: string;
  readonly y: string;
  /** x on a logarithmic scale: densities. */
  readonly logarithmic?: boolean;
}

const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT] = [640, 300, 64, 40, 28, 16];
const COLOURS = ['#2a6fb0', '#c2571a', '#2f8f4e', '#7b4fa3'];

/** Curves over one axis; '' where there is nothing to draw. */
export function lineChart(series: readonly Series[], { x, y, logarithmic = false }: ChartOptions): string {
  const points = series.flatMap((one) => one.points).filter(([a, b]) => Number.isFinite(b) && (logarithmic ? a > 0 : Number.isFinite(a)));
  if (points.length === 0) return '';
  const along = logarithmic ? Math.log : (value: number) => value;
  const xs = rangeOf(points.map(([a]) => along(a)));
  const ys = rangeOf(points.map(([, b]) => b));
  const left = (value: number) => LEFT + ((along(value) - xs.low) / (xs.high - xs.low)) * (WIDTH - LEFT - RIGHT);
  const top = (value: number) => HEIGHT - BOTTOM - ((value - ys.low) / (ys.high - ys.low)) * (HEIGHT - BOTTOM - TOP);
  const ticks = (low: number, high: number) => Array.from({ length: 5 }, (_, i) => low + ((high - low) * i) / 4);
  const label = (value: number) => escaped(String(Number(value.toPrecision(3))));
  const back = logarithmic ? Math.exp : (value: number) => value;
  return [
    `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escaped(`${y} over ${x}`)}">`,
    ...ticks(ys.low, ys.high).map((value) => `<path class="grid" d="M${LEFT} ${at(top(value))}H${WIDTH - RIGHT}"/><text class="end" x="${LEFT - 6}" y="${at(top(value) + 4)}">${label(value)}</text>`),
    ...ticks(xs.low, xs.high).map((value) => `<text class="middle" x="${at(left(back(value)))}" y="${HEIGHT - BOTTOM + 16}">${label(back(value))}</text>`),
    `<text class="middle" x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 6}">${escaped(x)}</text>`,
    ...series.flatMap(({ name, points: own }, i) => {
      const colour = COLOURS[i % COLOURS.length]!;
      const path = own.map(([a, b], n) => `${n === 0 ? 'M' : 'L'}${at(left(a))} ${at(top(b))}`).join('');
      const dots = own.length > 16 ? [] : own.map(([a, b]) => `<circle cx="${at(left(a))}" cy="${at(top(b))}" r="3" fill="${colour}"/>`);
      return [`<path d="${path}" fill="none" stroke="${colour}" stroke-width="1.5"/>`, ...dots, `<text x="${LEFT + 130 * i}" y="16" fill="${colour}">${escaped(name)}</text>`];
    }),
    '</svg>',
  ].join('');
}

/** A bar of a fraction of the widest. */
export function bar(value: number, most: number): string {
  const width = most > 0 ? (100 * value) / most : 0;
  return `<svg class="bar" viewBox="0 0 100 10" role="img" aria-label="${escaped(String(value))}"><rect width="${at(width)}" height="10" fill="${COLOURS[0]!}"/></svg>`;
}

/** Ends that differ, with a little room. */
function rangeOf(values: readonly number[]): { low: number; high: number } {
  const [low, high] = [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
  const room = high > low ? 0.02 * (high - low) : Math.abs(high) / 2 || 1;
  return { low: low - room, high: high + room };
}

function at(value: number): string {
  return value.toFixed(1);
}
