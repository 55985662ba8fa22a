// From nothing to the first picture: a new process that loads the library and the model and draws once.
import { spawn } from 'node:child_process';
import path from 'node:path';
import { root } from '../../scripts/run.mjs';

/** Both programs take FOLDER and THREADS and print the milliseconds of processor time they used, as JSON. */
const PROGRAMS = {
  ours: () => [process.execPath, path.join(root, 'bench', 'lib', 'first-picture.mjs')],
  theirs: (python) => [python, path.join(root, 'bench', 'python', 'first_picture.py')],
};

async function start(side, python, args) {
  const [command, script] = PROGRAMS[side](python);
  const begin = performance.now();
  const child = spawn(command, [script, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const output = { stdout: '', stderr: '' }; // libraries' progress bars and warnings go to stderr
  for (const name of Object.keys(output)) child[name].setEncoding('utf8').on('data', (text) => (output[name] += text));
  const code = await new Promise((resolve, reject) => child.on('error', reject).on('close', resolve));
  if (code !== 0) throw new Error(`${script} failed (exit code ${code}):\n${output.stderr}`);
  return { ms: performance.now() - begin, cpuMs: JSON.parse(output.stdout).cpuMs };
}

/** Measurements for alternate(), after one start of each that fills the file cache. */
export async function coldStart(python, folder, threads) {
  const args = [folder, String(threads)];
  const measures = Object.keys(PROGRAMS).map((side) => () => start(side, python, args));
  for (const measure of measures) await measure();
  return measures;
}
