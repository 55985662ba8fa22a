// The command line of `npm run bench`.
import path from 'node:path';
import { parseArgs } from 'node:util';
import { root } from '../../scripts/run.mjs';
import { ROWS } from './engine-rows.mjs';

export const USAGE = `npm run bench -- [options]

  --rows LIST      ${[...Object.keys(ROWS), 'cold_start'].join(', ')}  (default: all)
  --size LIST      mini, sd14 (Stable Diffusion 1.4's architecture at 32×32 latents)  (default: both)
  --batch LIST     pictures per call; of each kind, subject and prior, in a search step  (default: 1,4)
  --threads LIST   (default: 1,2)
  --rounds N       pairs of measurements per row  (default: 6)
  --quick          the mini size alone, batch 1, 1 thread, 3 rounds, shorter measurements
  --json FILE      writes everything that was measured
  --mini FOLDER    model of the mini size  (default: models/mini)
  --sd14 FOLDER    model of SD 1.4's size  (default: .cache/sd14, made with random weights when missing, 2.1 GB)

PYTHON names a Python that has scripts/requirements.txt installed; without it one is made in .cache/bench-venv.`;

/** Milliseconds that one measurement should take at least, so that clocks and noise matter little. */
const MEASUREMENT_MS = 300;

const list = (text, allowed, name) => {
  const values = text.split(',').map((value) => value.trim());
  const wrong = values.find((value) => !allowed(value));
  if (wrong !== undefined) throw new Error(`--${name} does not know "${wrong}".\n\n${USAGE}`);
  return values;
};
const positive = (value) => /^[1-9]\d{0,3}$/.test(value);

/** @param args without node and the script's name */
export function parseOptions(args) {
  const text = { type: 'string' };
  let values;
  try {
    ({ values } = parseArgs({
      args,
      options: {
        rows: text, size: text, batch: text, threads: text, rounds: text, json: text, mini: text, sd14: text,
        quick: { type: 'boolean' },
        help: { type: 'boolean' },
      },
    }));
  } catch (error) {
    throw new Error(`${error.message}\n\n${USAGE}`, { cause: error });
  }
  const { quick } = values;
  const rows = [...Object.keys(ROWS), 'cold_start'];
  return {
    help: values.help ?? false,
    rows: list(values.rows ?? rows.join(), (row) => rows.includes(row), 'rows'),
    sizes: list(values.size ?? (quick ? 'mini' : 'mini,sd14'), (size) => ['mini', 'sd14'].includes(size), 'size'),
    batches: list(values.batch ?? (quick ? '1' : '1,4'), positive, 'batch').map(Number),
    threads: list(values.threads ?? (quick ? '1' : '1,2'), positive, 'threads').map(Number),
    rounds: Number(list(values.rounds ?? (quick ? '3' : '6'), positive, 'rounds')[0]),
    measurementMs: quick ? MEASUREMENT_MS / 2 : MEASUREMENT_MS,
    json: values.json,
    folders: {
      mini: path.resolve(values.mini ?? path.join(root, 'models', 'mini')),
      sd14: path.resolve(values.sd14 ?? path.join(root, '.cache', 'sd14')),
    },
  };
}
