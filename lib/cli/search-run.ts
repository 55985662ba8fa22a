import type { Command } from 'commander';
import type { Concept } from '../concept';
import type { Engine } from '../engine';
import { AbortError } from '../errors';
import { writeFileAtomic } from '../files';
import type { SearchProgress } from '../find-concept/options';
import type { ConceptSearch } from '../find-concept/search';
import { describeConcept } from './describe-concept';
import { type Io, printJson, printLines } from './io';
import { duration, type Progress } from './progress';

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

/** Steps, report and concept file of a search; what is interrupted is saved, to be gone on with. */
export async function runToFile(search: ConceptSearch, { output, state }: SearchOutput): Promise<Concept> {
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
export function printFound(io: Io, engine: Engine, concept: Concept, { output, json }: SearchOutput, cost: { seed: string; milliseconds: number }): void {
  const { seed, milliseconds } = cost;
  const peakMemory = engine.memory().peak;
  const info = concept.info();
  if (json) return printJson(io, { file: output, seed, milliseconds, peakMemory, concept: info });
  const summary = `Seed ${seed}; ${duration(milliseconds)} min; at most ${(peakMemory / 2 ** 20).toFixed(0)} MiB.`;
  printLines(io, [...describeConcept(output, info), '', summary]);
}

export function barOf({ phase, step, steps, loss, msPerStep, remainingMs }: SearchProgress): Progress {
  const detail = loss === undefined || msPerStep === undefined ? undefined : `loss ${loss.toFixed(4)}, ${msPerStep.toFixed(0)} ms/step`;
  return { label: phase, step, steps, remainingMs, detail };
}
