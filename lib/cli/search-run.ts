import type { Command } from 'commander';
import type { Concept } from '../concept';
import type { Engine } from '../engine';
import { AbortError } from '../errors';
import { writeFileAtomic } from '../files';
import type { FindConceptOptions, SearchProgress } from '../find-concept/options';
import type { ConceptSearch } from '../find-concept/search';
import { type EngineFlags, loadEngine } from './arguments';
import { describeConcept } from './describe-concept';
import { assertWritable, type Io, printJson, printLines } from './io';
import { duration, type Progress, ProgressBars } from './progress';

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
  start: (engine: Engine, options: Options & Pick<FindConceptOptions, 'signal' | 'onProgress'>) => Promise<ConceptSearch>,
): Promise<void> {
  const { output, state } = flags;
  await Promise.all([output, state ?? output].map(assertWritable));

  await using engine = await loadEngine(flags);
  using bars = new ProgressBars(io);
  const search = await start(engine, { ...options, signal: io.signal, onProgress: (progress) => bars.update(barOf(progress)) });
  const concept = await runToFile(search, flags);
  bars.stop();
  printFound(io, engine, concept, flags, { seed: String(options.seed ?? 0), milliseconds: Math.round(performance.now() - since) });
}

/** Steps, report and concept file of a search; what is interrupted is saved, to be gone on with. */
async function runToFile(search: ConceptSearch, { output, state }: SearchOutput): Promise<Concept> {
  let concept: Concept;
  try {
    await search.run();
    if (state !== undefined) await saveState(search, state);
    concept = await search.finish();
  } catch (error) {
    if (!(error instanceof AbortError)) throw error;
    const file = state ?? `${output}.state`;
    await saveState(search, file);
    throw new AbortError(`Interrupted after ${search.step} steps. The search is saved: run the same command with --resume ${file} to go on.`, { cause: error });
  } finally {
    search.dispose();
  }
  await concept.save(output);
  return concept;
}

async function saveState(search: ConceptSearch, file: string): Promise<void> {
  await writeFileAtomic(file, await search.save());
}

/** What was found, and at what cost. */
function printFound(io: Io, engine: Engine, concept: Concept, { output, json }: SearchOutput, cost: { seed: string; milliseconds: number }): void {
  const { seed, milliseconds } = cost;
  const peakMemory = engine.memory().peak;
  const info = concept.info();
  if (json) return printJson(io, { file: output, seed, milliseconds, peakMemory, concept: info });
  const summary = `Seed ${seed}; ${duration(milliseconds)} min; at most ${(peakMemory / 2 ** 20).toFixed(0)} MiB.`;
  printLines(io, [...describeConcept(output, info), '', summary]);
}

function barOf({ phase, step, steps, loss, msPerStep, remainingMs }: SearchProgress): Progress {
  const detail = loss === undefined || msPerStep === undefined ? undefined : `loss ${loss.toFixed(4)}, ${msPerStep.toFixed(0)} ms/step`;
  return { label: phase, step, steps, remainingMs, detail };
}
