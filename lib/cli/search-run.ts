import path from 'node:path';
import type { Command } from 'commander';
import type { Concept } from '../concept';
import type { Engine } from '../engine';
import { AbortError, ConesError } from '../errors';
import { writeFileAtomic } from '../util/files';
import type { FindConceptOptions, SearchProgress } from '../methods/cones/options';
import type { ConceptSearch } from '../methods/cones/search';
import { toConesError } from '../native';
import type { Warning } from '../warning';
import { type EngineFlags, loadEngine } from './arguments';
import { describeConcept } from './describe-concept';
import { assertWritable, type Io, printJson, printLines, printWarnings } from './io';
import { duration, type Progress, ProgressBars } from './progress';
import { Rescue } from './rescue';

/** Where the results of a search go. */
export interface SearchOutput {
  readonly output: string;
  /** Keep the search there, also when it is done. */
  readonly state?: string;
  readonly json?: boolean;
}

export function addStateFlag(command: Command): Command {
  return command.option('--state <file>', 'keep the search there, when done as well as when interrupted (default: only when interrupted, in OUTPUT.state)');
}

/**
 * From loading the model to printing what was found.
 * @param options of the search, `since`: when the command began
 */
export async function searchToFile<Options extends { readonly seed?: unknown }>(
  io: Io,
  flags: EngineFlags & SearchOutput,
  { options, since }: { readonly options: Options; readonly since: number },
  start: (engine: Engine, options: Options & Pick<FindConceptOptions, 'signal' | 'onProgress' | 'onWarning'>) => Promise<ConceptSearch>,
): Promise<void> {
  const { output, state } = flags;
  const target = await assertWritable(output);
  if (state !== undefined && path.resolve(await assertWritable(state)) === path.resolve(target)) {
    throw new ConesError('CONES_OPTION_INVALID', `${state} cannot hold both the concept and the search: give --state another file.`);
  }

  await using engine = await loadEngine(flags, io);
  using bars = new ProgressBars(io);
  const warnings = [...engine.warnings];
  const search = await start(engine, {
    ...options,
    signal: io.signal,
    onProgress: (progress) => bars.update(barOf(progress)),
    onWarning: (warning) => void warnings.push(warning),
  });
  const rescue = new Rescue();
  const { concept, file } = await runToFile(search, flags, rescue).finally(() => {
    bars.stop();
    printWarnings(io, warnings);
  });
  const cost = { seed: String(options.seed ?? 0), milliseconds: Math.round(performance.now() - since) };
  printFound(io, engine, concept, { file, json: flags.json, warnings }, cost);
  rescue.assertUnneeded();
}

/** Steps, report and concept file of a search; what does not come to its end is saved, to be gone on with. */
async function runToFile(search: ConceptSearch, { output, state }: SearchOutput, rescue: Rescue): Promise<{ concept: Concept; file: string }> {
  const keep = async (file: string) => {
    const bytes = await search.save();
    return rescue.save(file, (name) => writeFileAtomic(name, bytes));
  };
  let searched = false;
  let kept: string | undefined;
  try {
    await search.run();
    searched = true;
    if (state !== undefined) kept = await keep(state);
    const concept = await search.finish();
    const file = await rescue.save(output, (name) => concept.save(name));
    return { concept, file: file ?? output };
  } catch (error) {
    const interrupted = error instanceof AbortError;
    // Of a step that failed, ξ may have a part.
    if (!searched && !interrupted) throw error;
    kept ??= await keep(state ?? `${output}.state`);
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
  const summary = `Seed ${seed}; ${duration(milliseconds)} min; at most ${(peakMemory / 2 ** 20).toFixed(0)} MiB.`;
  printLines(io, [...describeConcept(file, info), '', summary]);
}

function barOf({ phase, step, steps, loss, msPerStep, remainingMs }: SearchProgress): Progress {
  const detail = loss === undefined || msPerStep === undefined ? undefined : `loss ${loss.toFixed(4)}, ${msPerStep.toFixed(0)} ms/step`;
  return { label: phase, step, steps, remainingMs, detail };
}
