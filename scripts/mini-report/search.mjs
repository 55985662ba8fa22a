// One subject's search, and its losses on held-out noise.
import { readSubject } from 'cones';

/** Beside the density that the search chooses (paper, Tab. 2: 1.32 % on average). */
export const DENSITIES = [0.01, 0.02, 0.04, 0.08];

/**
 * `{ concept, loss, seconds }`; every mask's losses stand beside those of as many random weights. `everyDensity`: each of them is
 * searched for by itself, and not read off the one search.
 */
export async function findSubject(engine, subject, options, { withCaptions, everyDensity }) {
  const { name } = subject;
  const { captions, ...rest } = await readSubject(subject.folder, { identifier: options.identifier });
  const all = { ...rest, ...(withCaptions ? { captions } : {}), ...options, report: { pictures: 0, ...options.report } };
  const begin = performance.now();
  const search = await engine.startSearch(all);
  try {
    const started = performance.now();
    await search.run();
    const searched = performance.now();
    const concept = await search.finish();
    const reported = performance.now();
    const fixed = [];
    for (const density of DENSITIES) {
      const own = everyDensity && Math.abs(density - concept.density) > 1e-4;
      const { report } = own ? await engine.findConcept({ ...all, density }) : await search.finish({ density });
      const { shut, random } = report.loss;
      fixed.push({ density, shut, random });
    }
    const { loss, sweep } = concept.report;
    const seconds = { prepare: (started - begin) / 1000, search: (searched - started) / 1000, all: (reported - begin) / 1000 };
    return { concept, loss: { ...loss, fixed }, sweep, seconds };
  } catch (cause) {
    throw new Error(`${name}: ${cause.message}`, { cause });
  } finally {
    search.dispose();
  }
}
