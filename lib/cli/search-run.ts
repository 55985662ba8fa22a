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
import { duration, ProgressBars } from './progress';
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

/** Steps between two savings of a state. */
const STATE_EVERY = 25;

export function addStateFlags(command: Command): Command {
  return command
    .option('--state <file>', 'keep the search there as it goes, and go on from what is there (default: only when interrupted, in OUTPUT.state)')
    .option('--state-every <n>', `steps between two savings of --state (default: ${STATE_EVERY})`, number);
}

/**
 * From loading the model to printing what was found.
 * @param options of the search, `since`: when the command began
 */
export async function searchToFile<Options extends { readonly seed?: unknown; readonly resume?: unknown }>(
  io: Io,
  flags: EngineFlags & SearchOutput,
  { options, since }: { readonly options: Options; readonly since: number },
  start: (engine: Engine, options: Options & Pick<FindConceptOptions, 'signal' | 'onProgress' | 'onWarning' | 'resume' | 'checkpoint'>) => Promise<ConceptSearch>,
): Promise<void> {
  const { output } = flags;
  const target = await assertWritable(output);
  if (flags.state !== undefined && path.resolve(await assertWritable(flags.state)) === path.resolve(target)) {
    throw new ConesError('CONES_OPTION_INVALID', `${flags.state} cannot hold both the concept and the search: give --state another file.`);
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
  const search = await start(engine, {
    ...options,
    ...(resume ? { resume } : {}),
    ...(state ? { checkpoint: { every: flags.stateEvery ?? STATE_EVERY, save: (bytes, step) => state.checkpoint(bytes, step, warnAtOnce) } } : {}),
    signal: io.signal,
    onProgress: (progress) => bars.update(progress),
    onWarning: (warning) => void warnings.push(warning),
  });
  const { concept, file } = await runToFile(search, output, state, rescue).finally(() => {
    bars.stop();
    printWarnings(io, warnings);
  });
  const cost = { seed: String(options.seed ?? 0), milliseconds: Math.round(performance.now() - since) };
  printFound(io, engine, concept, { file, json: flags.json, warnings: [...warnings, ...early] }, cost);
  rescue.assertUnneeded();
}

/** Steps, report and concept file of a search; what does not come to its end is saved, to be gone on with. */
async function runToFile(search: ConceptSearch, output: string, state: StateFile | undefined, rescue: Rescue): Promise<{ concept: Concept; file: string }> {
  let searched = false;
  try {
    await search.run();
    searched = true;
    await state?.save(search);
    const concept = await search.finish();
    const file = await rescue.save(output, (name) => concept.save(name));
    return { concept, file: file ?? output };
  } catch (error) {
    const interrupted = error instanceof AbortError;
    // Of a step that failed, ξ may have a part.
    if (!searched && !interrupted) throw error;
    const kept = await (state ?? new StateFile(`${output}.state`, rescue)).save(search);
    const hint = kept === undefined ? rescue.problem! : `The search is saved: run the same command with --resume ${kept} to go on.`;
    if (interrupted) throw new AbortError(`Interrupted after ${search.step} steps. ${hint}`, { cause: error });
    const { code, message } = toConesError(error);
    throw new ConesError(code, `${message} ${hint}`, { cause: error });
  } finally {
    search.dispose();
  }
}

/** What was found, and at what cost. */
function printFound(io: Io, engine: Engine, concept: Concept, { file, json, warnings }: { file: string; json: boolean | undefined; warnings: readonly Warning[] }, cost: { seed: string; milliseconds: number }): void {
  const { seed, milliseconds } = cost;
  const peakMemory = engine.memory().peak;
  const info = concept.info();
  if (json) return printJson(io, { file, seed, milliseconds, peakMemory, warnings, concept: info });
  const summary = `Seed ${seed}; ${duration(milliseconds)}; at most ${(peakMemory / 2 ** 20).toFixed(0)} MiB.`;
  printLines(io, [...describeConcept(file, info), '', summary]);
}
