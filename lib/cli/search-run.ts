import path from 'node:path';
import type { Command } from 'commander';
import type { Concept } from '../concept';
import type { Engine } from '../engine';
import { AbortError, ConesError } from '../errors';
import type { FindConceptOptions } from '../methods/cones/options';
import type { ConceptSearch } from '../methods/cones/search';
import { toConesError } from '../native';
import type { Warning } from '../warning';
import { type EngineFlags, loadEngine, number } from './arguments';
import { describeConcept } from './describe-concept';
import { assertWritable, type Io, printJson, printLines, printWarnings } from './io';
import { duration, type Progress, ProgressBars } from './progress';
import { Rescue } from './rescue';
import { StateFile } from './state-file';

/** Where the results of a search go. */
export interface SearchOutput {
  readonly output: string;
  /** Keep the search there as it goes and when it is done; a search that is there goes on. */
  readonly state?: string;
  readonly stateEvery?: number;
  readonly json?: boolean;
}

/** What a search or a training has in common: it can be kept midway, and its result goes into a file or a folder. */
export interface LongRun<Result> {
  readonly step: number;
  run(): Promise<void>;
  save(): Promise<Buffer>;
  finish(): Promise<Result>;
  dispose(): void;
}

interface Saved {
  save(file: string): Promise<unknown>;
}

/** What it is called, and how its result is told. */
export interface Work<Result> {
  readonly name: 'search' | 'training';
  print(io: Io, engine: Engine, result: Result, told: Told, cost: { seed: string; milliseconds: number }): void;
}

export interface Told {
  readonly file: string;
  readonly json: boolean | undefined;
  readonly warnings: readonly Warning[];
}

/** Steps between two savings of a state. */
const STATE_EVERY = 25;

export function addStateFlags(command: Command, name: Work<unknown>['name'] = 'search'): Command {
  return command
    .option('--state <file>', `keep the ${name} there as it goes, and go on from what is there (default: only when interrupted, in OUTPUT.state)`)
    .option('--state-every <n>', `steps between two savings of --state (default: ${STATE_EVERY})`, number);
}

const SEARCH: Work<Concept> = { name: 'search', print: printFound };

/** {@link runToResult} of a search. */
export function searchToFile<Options extends { readonly seed?: unknown; readonly resume?: unknown }>(
  io: Io,
  flags: EngineFlags & SearchOutput,
  job: { readonly options: Options; readonly since: number },
  start: (engine: Engine, options: Options & Pick<FindConceptOptions, 'signal' | 'onProgress' | 'onWarning' | 'resume' | 'checkpoint'>) => Promise<ConceptSearch>,
): Promise<void> {
  return runToResult(io, flags, SEARCH, job, start);
}

type Events = Pick<FindConceptOptions, 'signal' | 'onWarning' | 'resume' | 'checkpoint'> & { onProgress?: (progress: Progress) => void };

/**
 * From loading the model to printing what was found.
 * @param options of the search, `since`: when the command began
 */
export async function runToResult<Options extends { readonly seed?: unknown; readonly resume?: unknown }, Result extends Saved>(
  io: Io,
  flags: EngineFlags & SearchOutput,
  work: Work<Result>,
  { options, since }: { readonly options: Options; readonly since: number },
  start: (engine: Engine, options: Options & Events) => Promise<LongRun<Result>>,
): Promise<void> {
  const { output } = flags;
  const target = await assertWritable(output);
  if (flags.state !== undefined && path.resolve(await assertWritable(flags.state)) === path.resolve(target)) {
    throw new ConesError('CONES_OPTION_INVALID', `${flags.state} cannot hold both the result and the ${work.name}: give --state another file.`);
  }
  const rescue = new Rescue();
  const state = flags.state === undefined ? undefined : new StateFile(flags.state, rescue);
  const resume = options.resume === undefined ? await state?.read() : undefined;

  await using engine = await loadEngine(flags, io);
  using bars = new ProgressBars(io);
  const warnings = [...engine.warnings];
  // The others are told at the end, where nobody overlooks them; a search that is not kept should not go on for days.
  const early: Warning[] = [];
  const warnAtOnce = (warning: Warning) => {
    early.push(warning);
    bars.stop();
    printWarnings(io, [warning]);
  };
  const running = await start(engine, {
    ...options,
    ...(resume ? { resume } : {}),
    ...(state ? { checkpoint: { every: flags.stateEvery ?? STATE_EVERY, save: (bytes, step) => state.checkpoint(bytes, step, warnAtOnce) } } : {}),
    signal: io.signal,
    onProgress: (progress) => bars.update(progress),
    onWarning: (warning) => void warnings.push(warning),
  });
  const { result, file } = await runToFile(running, work, output, state, rescue).finally(() => {
    bars.stop();
    printWarnings(io, warnings);
  });
  const cost = { seed: String(options.seed ?? 0), milliseconds: Math.round(performance.now() - since) };
  work.print(io, engine, result, { file, json: flags.json, warnings: [...warnings, ...early] }, cost);
  rescue.assertUnneeded();
}

/** Steps, result and its file; what does not come to its end is saved, to be gone on with. */
async function runToFile<Result extends Saved>(running: LongRun<Result>, work: Work<Result>, output: string, state: StateFile | undefined, rescue: Rescue): Promise<{ result: Result; file: string }> {
  let whole = false;
  try {
    await running.run();
    whole = true;
    await state?.save(running);
    const result = await running.finish();
    const file = await rescue.save(output, async (name) => void (await result.save(name)));
    return { result, file: file ?? output };
  } catch (error) {
    const interrupted = error instanceof AbortError;
    // Of a search's step that failed, ξ may have a part.
    if (!whole && !interrupted) throw error;
    const kept = await (state ?? new StateFile(`${output}.state`, rescue)).save(running);
    const hint = kept === undefined ? rescue.problem! : `The ${work.name} is saved: run the same command with --resume ${kept} to go on.`;
    if (interrupted) throw new AbortError(`Interrupted after ${running.step} steps. ${hint}`, { cause: error });
    const { code, message } = toConesError(error);
    throw new ConesError(code, `${message} ${hint}`, { cause: error });
  } finally {
    running.dispose();
  }
}

/** What was found, and at what cost. */
function printFound(io: Io, engine: Engine, concept: Concept, { file, json, warnings }: Told, { seed, milliseconds }: { seed: string; milliseconds: number }): void {
  const peakMemory = engine.memory().peak;
  const info = concept.info();
  if (json) return printJson(io, { file, seed, milliseconds, peakMemory, warnings, concept: info });
  const summary = `Seed ${seed}; ${duration(milliseconds)}; at most ${(peakMemory / 2 ** 20).toFixed(0)} MiB.`;
  printLines(io, [...describeConcept(file, info), '', summary]);
}
