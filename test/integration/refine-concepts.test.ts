// Several subjects refined together (paper §3.3).
import path from 'node:path';
import { Concept, type ConceptSearch, Engine, type Moments, readSubject, type RefineConceptsOptions, type RefineSubject, type SearchReport } from '../../lib';
import * as encoding from '../../lib/engine/pictures';
import * as moments from '../../lib/methods/shared/moments';
import { conceptOf, load, picture, pictures, rejection } from '../runtime/model';

let engine: Engine;
let cat: Concept;
let dog: Concept;
beforeAll(async () => {
  engine = await load();
  cat = conceptOf(engine, 0, 20);
  const other = conceptOf(engine, 1, 30, 'V2*', 'z');
  const [subject] = other.subjects;
  dog = other.with({ subjects: [{ ...subject!, category: 'dog', embedding: { dtype: 'float16', values: new Float32Array(32).fill(0.5) } }] });
});
afterAll(() => engine.dispose());
afterEach(() => jest.restoreAllMocks());

async function options(changes: Partial<RefineConceptsOptions> = {}): Promise<RefineConceptsOptions> {
  return {
    subjects: [{ concept: cat, images: await pictures(3) }, { concept: dog, images: [await picture(8), await picture(9)] }],
    ...{ steps: 3, batchSize: 2, priorCount: 2, cacheDir: null, report: { rows: 4 } },
    ...changes,
  };
}
const lossesOf = (concept: Concept) => (concept.report as unknown as SearchReport).loss;

test('the result draws all subjects, with their words and embeddings, and tells what it is worth', async () => {
  const phases = new Map<string, number>();
  const both = await engine.refineConcepts(await options({ density: 0.05, onProgress: ({ phase, step, steps }) => void phases.set(phase, step / steps) }));
  expect(both).toMatchObject({ method: 'refinement', steps: 3, subjects: [...cat.subjects, ...dog.subjects] });
  expect(both.neuronCount).toBe(Math.round(0.05 * both.weightCount));
  expect(Object.fromEntries(phases)).toEqual({ encode: 1, prior: 1, search: 1, report: 1 });
  const { untouched, union, shut, random } = lossesOf(both);
  expect(new Set([untouched, union!, shut, random].map(({ subject }) => subject)).size).toBe(4);

  const reread = Concept.fromBuffer(both.toBuffer());
  expect(reread.equals(both)).toBe(true);
  const { warnings } = await engine.generate({ prompt: 'a V1* cat next to a V2* dog', concepts: [reread], steps: 1, seed: 1 });
  expect(warnings).toEqual([]);
});

test('two that were found with one rare word, of which one has learned an embedding, keep it', async () => {
  const [subject] = dog.subjects;
  const twin = dog.with({ subjects: [{ ...subject!, token: 'q' }] });
  const { subjects } = await options();
  const both = await engine.refineConcepts(await options({ subjects: [subjects[0]!, { ...subjects[1]!, concept: twin }] }));
  expect(both.subjects.map(({ token }) => token)).toEqual(['q', 'q']);
  expect((await engine.encodePrompt('a V1* cat next to a V2* dog', { concepts: [both] })).warnings).toEqual([]);
});

test.each([true, false])('its memory is planned, composed pictures %s', async (compose) => {
  await using own = await load();
  const settings = { compose, batchSize: 4, priorCount: 2 };
  const plan = own.planRefinement({ ...settings, images: 3 });
  await own.refineConcepts(await options({ ...settings, steps: 2, report: { rows: 8 } }));
  const { peak } = own.memory();
  expect(peak).toBeLessThanOrEqual(plan.peak);
  expect(peak).toBeGreaterThan(0.9 * plan.peak);
  expect(own.planRefinement({ ...settings, subjects: 3 }).peak).toBeGreaterThan(own.planRefinement(settings).peak);
});

test('on models/mini it predicts the pictures of both better than their union does, and than random weights', async () => {
  const root = path.join(__dirname, '../..');
  await using mini = await Engine.load(path.join(root, 'models/mini'));
  const shared = { batchSize: 2, priorCount: 2, cacheDir: null } as const;
  const subjects = await Promise.all(['taxi', 'boar'].map((name, i) => readSubject(path.join(root, 'examples/subjects', name), { identifier: `V${i + 1}*` })));
  const given: RefineSubject[] = [];
  for (const { images, captions, ...subject } of subjects) {
    const concept = await mini.findConcept({ ...subject, images, captions: captions!, steps: 20, report: { rows: 1, pictures: 0 }, ...shared });
    given.push({ concept, images, captions: captions! });
  }
  const { untouched, union, shut, random } = lossesOf(await mini.refineConcepts({ subjects: given, steps: 40, ...shared }));
  expect(shut.subject).toBeLessThan(union!.subject);
  expect(shut.subject).toBeLessThan(random.subject);
  expect(shut.subject).toBeLessThan(0.8 * untouched.subject);
}, 240_000);

test("within: 'union' leaves no other neuron, and half of them by default", async () => {
  const union = Concept.union(cat, dog);
  const search = await engine.startRefinement(await options({ within: 'union' }));
  await search.run();
  const refined = await search.finish();
  search.dispose();
  expect(refined.method).toBe('refinement-within-union');
  expect(Concept.difference(refined, union).neuronCount).toBe(0);
  expect(refined.neuronCount).toBeGreaterThan(0);
  expect(refined.neuronCount).toBeLessThanOrEqual(Math.round(union.neuronCount / 2));

  const free = await engine.refineConcepts(await options());
  expect(Concept.difference(free, union).neuronCount).toBeGreaterThan(0);
});

test('subjects take turns whatever the number of their pictures, and every other picture shows two', async () => {
  const encode = jest.spyOn(encoding, 'encodeImages');
  const join = jest.spyOn(moments, 'joinMoments');
  const [a, b] = (await options()).subjects as [RefineSubject, RefineSubject];
  /** The pictures in the order in which the search takes them. */
  const start = async (changes: Partial<RefineConceptsOptions>) => {
    jest.clearAllMocks();
    (await engine.startRefinement(await options({ subjects: [a, b], priorBatchSize: 0, ...changes }))).dispose();
    const [[, encoded]] = encode.mock.calls as [[unknown, readonly Buffer[]]];
    expect(new Set(encoded).size).toBe(encoded.length);
    const [[taken]] = join.mock.calls as [[readonly Moments[]]];
    return taken.map(({ data }) => encoded[data.byteOffset / data.byteLength]);
  };
  const turns = [a.images[0], b.images[0], a.images[1], b.images[1], a.images[2], b.images[0]];
  expect(await start({ compose: false })).toEqual(turns);
  const composed = await start({});
  expect(composed.filter((_, i) => i % 2 === 0)).toEqual(turns);
  const together = composed.filter((_, i) => i % 2 === 1);
  expect(new Set(together.map((image) => image!.toString('base64'))).size).toBe(together.length);
  expect(together.some((image) => turns.includes(image))).toBe(false);
});

test('a saved refinement goes on as if it had not been interrupted', async () => {
  const through = await engine.refineConcepts(await options({ steps: 4 }));
  const first = await engine.startRefinement(await options({ steps: 4 }));
  await first.run(2);
  const resume = await first.save();
  first.dispose();
  expect((await engine.refineConcepts(await options({ steps: 4, resume }))).equals(through)).toBe(true);

  const code = async (changes: Partial<RefineConceptsOptions>) => (await rejection(engine.startRefinement(await options({ resume, ...changes })))).code;
  expect(await code({ within: 'union' })).toBe('CONES_STATE_INVALID');
  expect(await code({ compose: false })).toBe('CONES_STATE_INVALID');
});

test('an abort ends it', async () => {
  const controller = new AbortController();
  const onProgress = ({ phase }: { phase: string }) => void (phase === 'search' && controller.abort());
  const search: ConceptSearch = await engine.startRefinement(await options({ steps: 1000, signal: controller.signal, onProgress }));
  expect(await rejection(search.run())).toMatchObject({ code: 'CONES_ABORTED' });
  expect(search.step).toBeLessThan(100); // those that were on their way
  search.dispose();
});

describe('is refused', () => {
  const refusal = async (changes: (subjects: readonly [RefineSubject, RefineSubject]) => Partial<RefineConceptsOptions>) => {
    const { subjects, ...rest } = await options();
    return rejection(engine.refineConcepts({ subjects, ...rest, ...changes(subjects as unknown as [RefineSubject, RefineSubject]) }));
  };
  const cases: [string, string, RegExp, (subjects: readonly [RefineSubject, RefineSubject]) => Partial<RefineConceptsOptions>][] = [
    ['one subject', 'CONES_OPTION_INVALID', /subjects/, ([a]) => ({ subjects: [a] })],
    ['no pictures', 'CONES_IMAGES_MISSING', /V2\*/, ([a, b]) => ({ subjects: [a, { ...b, images: [] }] })],
    ['the same subject twice', 'CONES_OPTION_INVALID', /same identifier/, ([a]) => ({ subjects: [a, a] })],
    ['one word for two', 'CONES_OPTION_INVALID', /same rare word/, ([a, b]) => ({ subjects: [a, { ...b, concept: conceptOf(engine, 1, 9, 'V2*', 'q') }] })],
    ['a union as one of them', 'CONES_OPTION_INVALID', /subjects\.0\.concept has 2/, ([, b]) => ({ subjects: [{ ...b, concept: Concept.union(cat, dog) }, b] })],
    ['a concept of another model', 'CONES_CONCEPT_MISMATCH', /base model/, ([a, b]) => ({ subjects: [{ ...a, concept: cat.with({ fingerprint: `sha256:${'0'.repeat(64)}` }) }, b] })],
    ['captions for other pictures', 'CONES_OPTION_INVALID', /subjects\.1\.captions has 1 entries for 2/, ([a, b]) => ({ subjects: [a, { ...b, captions: ['a V2* dog'] }] })],
    ['prior captions without pictures', 'CONES_OPTION_INVALID', /subjects\.0\.priorCaptions/, ([a, b]) => ({ subjects: [{ ...a, priorCaptions: ['a cat'] }, b] })],
    ['a number of prior pictures where all are given', 'CONES_OPTION_INVALID', /priorCount is for pictures/, ([a, b]) => ({ subjects: [a, b].map((one) => ({ ...one, priorImages: one.images })) })],
    ['options of a search for one', 'CONES_OPTION_INVALID', /learnEmbedding/, () => ({ learnEmbedding: true } as object)],
    ['timesteps beyond the schedule', 'CONES_OPTION_INVALID', /timesteps/, () => ({ timesteps: [0, 2000] })],
    ['a density of nothing', 'CONES_OPTION_INVALID', /density/, () => ({ density: 0 })],
  ];
  test.each(cases)('%s', async (_, code, message, changes) => {
    const error = await refusal(changes);
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
  });
  test('concepts of another model than this one', async () => {
    const subjects = [cat, dog].map((concept) => concept.with({ fingerprint: `sha256:${'0'.repeat(64)}` }));
    const error = await refusal(([a, b]) => ({ subjects: [{ ...a, concept: subjects[0]! }, { ...b, concept: subjects[1]! }] }));
    expect(error.code).toBe('CONES_CONCEPT_MISMATCH');
  });
});
