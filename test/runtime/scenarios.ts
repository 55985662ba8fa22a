// What runs in child processes: node -r register.cjs scenarios.ts <name>. Each prints one line of JSON at its end.
import { once } from 'node:events';
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, truncateSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import { Concept, Engine, type Warning } from '../../lib';
import { Rescue } from '../../lib/cli/rescue';
import { StateFile } from '../../lib/cli/state-file';
import { conceptOf, load, MODEL, searchOptions } from './model';

const DRAWING = { prompt: 'a cat', steps: 3, seed: 3 };
const FOREVER = { ...DRAWING, steps: 900, count: 1000 };

const draw = async (engine: Engine): Promise<string> => {
  const { images } = await engine.generate(DRAWING);
  return Buffer.from(images[0]!.data).toString('base64');
};

const worker = (task: string) => new Worker(__filename, { workerData: task, execArgv: ['-r', require.resolve('./register.cjs')] });

/** Collects garbage until finalizers have run. */
async function collect(): Promise<void> {
  for (let i = 0; i < 3; i++) {
    globalThis.gc!();
    await sleep(1);
  }
}

/** Runs until `done`, with a timer every millisecond; the delays of the event loop in milliseconds. */
async function delays(done: Promise<unknown>): Promise<{ max: number; ticks: number }> {
  const histogram = monitorEventLoopDelay({ resolution: 1 });
  let ticks = 0;
  const timer = setInterval(() => void ticks++, 1);
  histogram.enable();
  await done;
  histogram.disable();
  clearInterval(timer);
  return { max: histogram.max / 1e6, ticks };
}

const SCENARIOS: Record<string, () => Promise<unknown>> = {
  /** An idle engine does not keep the process alive. */
  async idle() {
    await load();
  },

  async exitWhileBusy() {
    const engine = await load({ threads: 2 });
    const search = await engine.startSearch(await searchOptions({ steps: 1_000_000, onProgress: ({ phase }) => phase === 'search' && process.exit(7) }));
    await Promise.all([search.run(), engine.generate(FOREVER)]);
  },

  async uncaughtWhileBusy() {
    const engine = await load();
    setTimeout(() => {
      throw new Error('uncaught');
    }, 20);
    await engine.generate(FOREVER);
  },

  /** Workers that load engines of their own draw what the main thread draws. */
  async workers() {
    const answers = Promise.all(Array.from({ length: 3 }, async () => (await once(worker('draw'), 'message'))[0] as string));
    const engine = await load();
    const own = await draw(engine);
    return { equal: (await answers).every((answer) => answer === own) };
  },

  async terminateWhileBusy() {
    const codes: number[] = [];
    for (const task of ['busy', 'searching', 'loading', 'busy', 'searching', 'loading']) {
      const thread = worker(task);
      await once(thread, 'message');
      codes.push(await thread.terminate());
    }
    const engine = await load();
    await draw(engine);
    return { codes };
  },

  /** A worker that ends by itself with a job running. */
  async workerExits() {
    const thread = worker('exit');
    const [code] = (await once(thread, 'exit')) as [number];
    return { code };
  },

  async cycles() {
    const rss: number[] = [];
    let weights = 0;
    for (let i = 1; i <= 200; i++) {
      const engine = await load({ threads: 2 });
      ({ weights } = engine.memory());
      if (i % 10 === 0) await draw(engine);
      await engine.dispose();
      if (i % 10 !== 0) continue;
      await collect();
      rss.push(process.memoryUsage.rss());
    }
    return { engines: 200, rss, weights };
  },

  /** The same with a gradient each, which packs the weights a second time. */
  async gradientCycles() {
    const rss: number[] = [];
    let weights = 0;
    for (let i = 1; i <= 60; i++) {
      const engine = await load();
      ({ weights } = engine.memory());
      await draw(engine);
      const latents = { data: new Float32Array(4 * 8 * 8).fill(0.5), shape: [1, 4, 8, 8] } as const;
      await engine.conceptGradient(latents, [500], await engine.encodePrompt('a cat'), { target: latents.data });
      await engine.dispose();
      if (i % 5 !== 0) continue;
      await collect();
      rss.push(process.memoryUsage.rss());
    }
    return { engines: 60, rss, weights };
  },

  async forgotten() {
    const rss: number[] = [];
    let weights = 0;
    for (let i = 1; i <= 60; i++) {
      ({ weights } = (await load()).memory());
      if (i % 5 !== 0) continue;
      await collect();
      rss.push(process.memoryUsage.rss());
    }
    return { engines: 60, rss, weights };
  },

  /** Memory in use by an engine before and after searches that were started and forgotten. */
  async forgottenSearches() {
    const engine = await load();
    const options = await searchOptions();
    const start = async () => void (await (await engine.startSearch(options)).run(1));
    await start();
    await collect();
    const { inUse: before } = engine.memory();
    for (let i = 0; i < 20; i++) await start();
    await collect();
    return { before, after: engine.memory().inUse };
  },

  /** The event loop's delays beside a search, and beside a thread that only burns as much time. */
  async lag() {
    const engine = await load();
    const options = await searchOptions({ steps: 150 });
    await engine.findConcept({ ...options, steps: 2 });
    const rounds = [];
    for (let i = 0; i < 3; i++) {
      const begin = performance.now();
      const search = await delays(engine.findConcept(options));
      const milliseconds = performance.now() - begin;
      const thread = worker('burn');
      await once(thread, 'message');
      const idle = await delays(sleep(milliseconds));
      await thread.terminate();
      rounds.push({ search, idle });
    }
    return { rounds };
  },

  /** What jobs of a loaded model do once its files are written to: their errors' codes, or 'done'. */
  async changedFiles() {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'cones-changed-'));
    const weights = (part: string) => path.join(folder, part, readdirSync(path.join(folder, part)).find((name) => name.endsWith('.safetensors'))!);
    const outcome = (job: PromiseLike<unknown>) => Promise.resolve(job).then(() => 'done', (error: { code?: string }) => error.code);
    try {
      cpSync(MODEL, folder, { recursive: true });
      const engine = await Engine.load(folder, { threads: 2 });
      const concepts = [conceptOf(engine, 3)];
      const options = await searchOptions();
      const search = await engine.startSearch(options);
      const shape = [1, 4, 8, 8] as const;
      const latents = { data: new Float32Array(256).fill(0.5), shape };
      const text = await engine.encodePrompt('a cat');
      const jobs = async () => ({
        mask: await outcome(engine.generate({ ...DRAWING, prompt: 'a V1* cat', concepts })),
        search: await outcome(engine.startSearch(options)),
        steps: await outcome(search.run()),
        state: await outcome(search.save()),
        gradient: await outcome(engine.conceptGradient(latents, [5], text, { target: latents.data, concepts: concepts[0] })),
        encode: await outcome(engine.encodeImage(options.images)),
        decode: await outcome(engine.decode(latents)),
      });
      truncateSync(weights('unet'), 1000);
      const unet = { ...(await jobs()), done: search.step };
      truncateSync(weights('text_encoder'), 0);
      truncateSync(weights('vae'), 0);
      return { unet, all: await jobs(), load: await outcome(Engine.load(folder)) };
    } finally {
      rmSync(folder, { recursive: true });
    }
  },


  /** With a limit on the size of files, which is as a full disk: what was there stays whole, and nothing is left lying about. */
  async fullDisk() {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'cones-full-'));
    const at = (name: string) => path.join(folder, name);
    const outcome = (job: PromiseLike<unknown>) => Promise.resolve(job).then(() => 'done', ({ code, message }: { code: string; message: string }) => `${code}: ${message.replaceAll(folder, '')}`);
    try {
      const engine = await load();
      const [few, many] = [conceptOf(engine, 0, 500), conceptOf(engine, 0, 2)];
      const state = new StateFile(at('a.state'), new Rescue());
      const warnings: Warning[] = [];
      const warn = (warning: Warning) => void warnings.push(warning);
      await few.save(at('a.cones'));
      await state.checkpoint(Buffer.alloc(100, 1), 1, warn);
      const concept = await outcome(many.save(at('a.cones')));
      for (const step of [2, 3]) await state.checkpoint(Buffer.alloc(1 << 20, 2), step, warn);
      return {
        concept,
        stillFew: (await Concept.load(at('a.cones'))).equals(few),
        state: readFileSync(at('a.state')).equals(Buffer.alloc(100, 1)),
        warnings: warnings.map(({ code, message }) => [code, message.replaceAll(folder, '')]),
        left: readdirSync(folder).sort(),
      };
    } finally {
      rmSync(folder, { recursive: true });
    }
  },

  async draw() {
    const engine = await load();
    return { picture: await draw(engine), instructionSet: engine.instructionSet, model: MODEL };
  },
};

const TASKS: Record<string, () => Promise<void>> = {
  async draw() {
    const engine = await load();
    parentPort!.postMessage(await draw(engine));
    await engine.dispose();
  },
  async busy() {
    const engine = await load({ threads: 2 });
    await engine.generate({ ...FOREVER, onProgress: ({ step }) => step === 1 && parentPort!.postMessage('busy') });
  },
  async searching() {
    const engine = await load();
    await engine.findConcept(await searchOptions({ steps: 1_000_000, onProgress: ({ phase }) => phase === 'search' && parentPort!.postMessage('busy') }));
  },
  async loading() {
    const loading = load();
    parentPort!.postMessage('busy');
    await loading;
  },
  async exit() {
    const engine = await load();
    await engine.generate({ ...FOREVER, onProgress: () => process.exit(3) });
  },
  async burn() {
    parentPort!.postMessage('burning');
    for (;;) Math.sqrt(Math.random());
  },
};

if (isMainThread) {
  void SCENARIOS[process.argv[2]!]!().then((result) => console.log(JSON.stringify(result ?? null)));
} else {
  void TASKS[workerData as string]!();
}
