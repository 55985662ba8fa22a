// The table on the terminal, which is Markdown, and the facts about the machine.
import { execFileSync } from 'node:child_process';
import os from 'node:os';
import { root } from '../../scripts/run.mjs';

const number = (value) => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));
const spread = ({ median, min, max }) => `${median.toFixed(2)} (${min.toFixed(2)}–${max.toFixed(2)})`;

const COLUMNS = [
  ['size', (r) => r.size],
  ['row', (r) => r.row],
  ['batch', (r) => String(r.batch)],
  ['threads', (r) => String(r.threads)],
  ['ours ms', (r) => number(r.ours.ms)],
  ['PyTorch ms', (r) => number(r.pytorch.ms)],
  ['ratio (min–max)', (r) => spread(r.ratio)],
  ['ours CPU ms', (r) => number(r.ours.cpuMs)],
  ['PyTorch CPU ms', (r) => number(r.pytorch.cpuMs)],
  ['CPU ratio (min–max)', (r) => spread(r.cpuRatio)],
];

const widths = COLUMNS.map(([title], i) => Math.max(title.length, [11, 13][i] ?? 7));
const line = (cells) => `| ${cells.map((cell, i) => cell.padEnd(widths[i])).join(' | ')} |`;

export const tableHead = () => `${line(COLUMNS.map(([title]) => title))}\n${line(widths.map((width) => '-'.repeat(width)))}`;
export const tableRow = (result) => line(COLUMNS.map(([, cell]) => cell(result)));

export const LEGEND =
  'ms: median wall-clock time of a call. CPU ms: processor time of a call over all threads, which other load on the\n' +
  'machine hardly changes (PyTorch\'s threads spin while they wait, so compare it at 1 thread). Ratios: PyTorch / ours,\n' +
  'the median and range over pairs of neighbouring measurements; above 1 we are faster.';

function git(...args) {
  try {
    return execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return undefined; // not a clone, or no git
  }
}

/** Where and of what the run was. */
export function environment() {
  const [cpu] = os.cpus();
  const commit = git('rev-parse', '--short', 'HEAD');
  return {
    date: new Date().toISOString(),
    commit: commit && git('status', '--porcelain', '--', 'csrc', 'lib') ? `${commit} with changes` : commit,
    cpu: cpu?.model.trim(),
    cores: os.cpus().length,
    memoryGiB: Math.round(os.totalmem() / 2 ** 30),
    node: process.versions.node,
    loadAverage: os.loadavg()[0],
  };
}
