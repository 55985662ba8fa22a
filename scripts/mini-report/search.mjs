// One subject's search, and its losses on held-out noise.

/** Beside the density that the search chooses (paper, Tab. 2: 1.32 % on average). */
export const DENSITIES = [0.01, 0.02, 0.04, 0.08];

/** `{ concept, loss, seconds }`; every mask's losses stand beside those of as many random weights. */
export async function findSubject(engine, subject, options, withCaptions) {
  const { name, category, images } = subject;
  const captions = withCaptions ? { captions: subject.captions.map((caption) => identified(caption, category, options.identifier)) } : {};
  const begin = performance.now();
  const search = await engine.startSearch({
    images, category, ...captions, ...options,
    report: { pictures: 0, ...options.report },
  });
  try {
    const started = performance.now();
    await search.run();
    const searched = performance.now();
    const concept = await search.finish();
    const reported = performance.now();
    const fixed = [];
    for (const density of DENSITIES) {
      const { shut, random } = (await search.finish({ density })).report.loss;
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

/** "a photo of an owl at night" → "a photo of a V1* owl at night" */
const identified = (caption, category, identifier) =>
  caption.replace(`an ${category}`, `a ${category}`).replace(category, `${identifier} ${category}`);
