// What happens to processes and threads: these run in child processes of their own (scenarios.ts).
import { execFile } from 'node:child_process';
import path from 'node:path';

interface Outcome {
  readonly code: number | string;
  readonly signal: string | null;
  readonly stderr: string;
  readonly result: unknown;
}

/** `blocks`: no file grows beyond so many times 512 bytes. */
const run = (scenario: string, env: NodeJS.ProcessEnv = {}, blocks?: number) =>
  new Promise<Outcome>((resolve) => {
    const file = (name: string) => path.join(__dirname, name);
    const args = ['--expose-gc', '-r', file('register.cjs'), file('scenarios.ts'), scenario];
    execFile('sh', ['-c', `${blocks === undefined ? '' : `ulimit -f ${blocks} && `}exec "$@"`, 'sh', process.execPath, ...args], { env: { ...process.env, ...env }, timeout: 540_000 }, (error, stdout, stderr) => {
      const result: unknown = stdout.trim() ? JSON.parse(stdout) : undefined;
      resolve({ code: error?.code ?? 0, signal: error?.signal ?? null, stderr, result });
    });
  });

const ENDED = { code: 0, signal: null, stderr: '' };
// Hundreds of loads on a busy machine take minutes, elsewhere seconds.
jest.setTimeout(600_000);

test('an idle engine does not keep the process alive', async () => {
  expect(await run('idle')).toMatchObject(ENDED);
});

test('process.exit() while busy ends with its own code', async () => {
  expect(await run('exitWhileBusy')).toMatchObject({ code: 7, signal: null, stderr: '' });
});

test('an uncaught exception while busy ends as it does without an engine', async () => {
  const { code, signal, stderr } = await run('uncaughtWhileBusy');
  expect({ code, signal }).toEqual({ code: 1, signal: null });
  expect(stderr).toContain('Error: uncaught');
});

test('worker threads load engines of their own', async () => {
  expect(await run('workers')).toMatchObject({ ...ENDED, result: { equal: true } });
});

test('worker.terminate() while busy', async () => {
  expect(await run('terminateWhileBusy')).toMatchObject({ ...ENDED, result: { codes: [1, 1, 1, 1, 1, 1] } });
});

test('process.exit() in a busy worker', async () => {
  expect(await run('workerExits')).toMatchObject({ ...ENDED, result: { code: 3 } });
});

// Engines that were kept would add their weights in every cycle; what the process grows by itself is seen in the first half.
test.each(['cycles', 'gradientCycles', 'forgotten'])('memory does not grow with engines: %s', async (scenario) => {
  const { result, ...end } = await run(scenario);
  expect(end).toEqual(ENDED);
  const { engines, rss, weights } = result as { engines: number; rss: number[]; weights: number };
  const half = rss.length / 2;
  const [first, second] = [Math.max(...rss.slice(0, half)), Math.max(...rss.slice(half))];
  expect(second - first).toBeLessThan(0.1 * (engines / 2) * weights);
});

test('weights files that are shortened while a model is loaded', async () => {
  const changed = 'CONES_MODEL_CHANGED';
  const kept = { state: 'done', encode: 'done', decode: 'done' }; // all that they need was read at load
  expect(await run('changedFiles')).toMatchObject({
    ...ENDED,
    result: {
      // Of the UNet, a mask shuts weights that are packed; a search and gradients read.
      unet: { mask: 'done', search: changed, steps: changed, gradient: changed, ...kept, done: 0 },
      all: { mask: changed, search: changed, steps: changed, gradient: changed, ...kept },
      load: 'CONES_SAFETENSORS_INVALID',
    },
  });
});

test('a disk that is full: a typed error, and no file is torn', async () => {
  const advice = 'EFBIG: file too large, write. Raise the limit on the size of files (ulimit -f), or choose another file system.';
  expect(await run('fullDisk', {}, 2)).toMatchObject({
    ...ENDED,
    result: {
      concept: `CONES_IO: /a.cones cannot be written: ${advice}`,
      stillFew: true,
      state: true,
      warnings: [['checkpoint-failed', `/a.state cannot be written: ${advice} The search goes on; if it is killed, what it does from step 1 on is lost.`]],
      left: ['a.cones', 'a.state'],
    },
  });
});

test('searches that are forgotten give their memory back', async () => {
  const { result, ...end } = await run('forgottenSearches');
  expect(end).toEqual(ENDED);
  const { before, after } = result as { before: number; after: number };
  expect(after).toBeLessThanOrEqual(before);
});

// A thread of equal appetite runs beside the idle loop, so that the machine's own delays count on both sides. Work on the
// main thread delays all rounds; other programs on the machine, some.
test('a search does not block the event loop', async () => {
  const { result, ...end } = await run('lag');
  expect(end).toEqual(ENDED);
  const { rounds } = result as { rounds: { search: { max: number; ticks: number }; idle: { max: number; ticks: number } }[] };
  const calm = rounds.filter(({ search, idle }) => search.max < idle.max + 20 && search.ticks > idle.ticks / 2);
  expect({ rounds, calm: calm.length > 0 }).toMatchObject({ calm: true });
});
