// Every public function with arguments of other types than it takes: what it refuses has a code, as everything it throws.
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Clip, Concept, cosine, Engine, ERROR_CODES, type FindConceptOptions, type GeneratedImage, listDevices, makeGrid, pullModel, readMetadata, readPictureSettings, readSubject, saveImage, type ConceptSearch } from '../../lib';
import { conceptOf, load, MODEL, searchOptions } from '../runtime/model';

const STRANGE: readonly unknown[] = [
  undefined, null, 5, NaN, -1, '', 'x', 1n, true, Symbol('s'), () => 1, {}, [], [5], [null], [[]], new Uint8Array(3), new Float32Array(3), new Map(), new Date(),
  { width: 2, height: 2, data: 5 }, { width: -1, height: NaN, data: new Uint8Array(0) }, { length: 3 }, new URL('file:///tmp'),
  Object.create(null), { toString: () => { throw new Error('no text'); } }, [Symbol('s')], [Object.create(null)], { a: Symbol('s') }, Proxy.revocable({}, {}).proxy,
  { get signal() { throw new Error('getter'); } }, { signal: { get aborted() { throw new Error('getter'); } } }, { get prompt() { throw Symbol('no error'); } }, { get images() { throw new Proxy(new Error('trap'), { get: () => { throw 5; } }); } },
  new Proxy({}, { get() { throw new Error('trap'); }, ownKeys() { throw new Error('trap'); } }), [Object.defineProperty({}, 'data', { enumerable: true, get: () => { throw new Error('getter'); } })],
];

const CLIP = path.join(__dirname, '../../models/mini-clip');

// No machine of ours asks a hub for what is no name.
process.env['HF_HUB_OFFLINE'] = '1';

let folder: string;
let engine: Engine;
let concept: Concept;
let image: GeneratedImage;
let options: FindConceptOptions;
let search: ConceptSearch;
let clip: Clip;
beforeAll(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'cones-api-'));
  engine = await load();
  concept = conceptOf(engine, 0);
  image = (await engine.generate({ prompt: 'a', steps: 1, seed: 1 })).images[0]!;
  options = await searchOptions({ steps: 2 });
  search = await engine.startSearch(options);
  clip = await Clip.load(CLIP, { threads: 1 });
});
afterAll(async () => {
  await Promise.all([engine.dispose(), clip.dispose()]);
  rmSync(folder, { recursive: true });
});

const latents = { data: new Float32Array(256), shape: [1, 4, 8, 8] } as const;
const states = { data: new Float32Array(77 * 32), shape: [1, 77, 32] } as const;
const file = (name: string) => path.join(folder, name);
const iterate = async (options: never) => {
  for await (const { step } of engine.generate(options)) expect(step).toBeGreaterThan(0);
};

const CALLS: Record<string, (value: never) => unknown> = {
  'engine.loadAdapter': (v) => engine.loadAdapter(v),
  'engine.loadAdapter, options': (v) => engine.loadAdapter('no file', v),
  'engine.loadAdapter, name': (v) => engine.loadAdapter('no file', { name: v }),
  'generate, adapters': (v) => engine.generate({ prompt: 'a', steps: 1, adapters: v }),
  'generate, one of the adapters': (v) => engine.generate({ prompt: 'a', steps: 1, adapters: [{ adapter: v, weight: 1 } as never] }),
  'encodePrompt, adapters': (v) => engine.encodePrompt('a', { adapters: v }),
  'planGenerate, adapters': (v) => engine.planGenerate({ adapters: v }),
  'drawAgain, adapters': (v) => engine.drawAgain('no file', { adapters: v }),
  'Engine.load': (v) => Engine.load(v),
  'Engine.load, options': async (v) => (await Engine.load(MODEL, v)).dispose(),
  'Engine.load, device': async (v) => (await Engine.load(MODEL, { device: v })).dispose(),
  'Engine.load, precision': async (v) => (await Engine.load(MODEL, { precision: v })).dispose(),
  'Engine.load, prediction': async (v) => (await Engine.load(MODEL, { prediction: v })).dispose(),
  'Engine.load, ema': async (v) => (await Engine.load(MODEL, { ema: v })).dispose(),
  'Engine.load, config': async (v) => (await Engine.load(MODEL, { config: v })).dispose(),
  'Engine.load, planOnly': async (v) => (await Engine.load(MODEL, { planOnly: v })).dispose(),
  'Engine.load, maxQueue': async (v) => (await Engine.load(MODEL, { maxQueue: v })).dispose(),
  'Engine.load, limits': async (v) => (await Engine.load(MODEL, { limits: v })).dispose(),
  'Engine.load, one of the limits': async (v) => (await Engine.load(MODEL, { limits: { steps: v } })).dispose(),
  'engine.trim': (v) => (engine.trim as (value: never) => unknown).call(engine, v),
  'engine.stats': (v) => (engine.stats as (value: never) => unknown).call(engine, v),
  'startSearch, priority': async (v) => (await engine.startSearch({ ...options, priority: v })).dispose(),
  'Engine.load, onDownload': async (v) => (await Engine.load(MODEL, { onDownload: v })).dispose(),
  'Engine.load, signal': async (v) => (await Engine.load(MODEL, { signal: v })).dispose(),
  pullModel: (v) => pullModel(v),
  'pullModel, options': (v) => pullModel('org/model', v),
  'pullModel, signal': (v) => pullModel('org/model', { signal: v }),
  'pullModel, onProgress': (v) => pullModel('org/model', { onProgress: v }),
  listDevices: (v) => (listDevices as (value: never) => unknown)(v),
  'Clip.load': (v) => Clip.load(v),
  'Clip.load, signal': async (v) => (await Clip.load(CLIP, { signal: v })).dispose(),
  'Clip.load, device': async (v) => (await Clip.load(CLIP, { device: v })).dispose(),
  'Clip.load, precision': async (v) => (await Clip.load(CLIP, { precision: v })).dispose(),
  cosine: (v) => cosine(v, new Float32Array(2)),
  'Concept.load': (v) => Concept.load(v),
  'Concept.fromBuffer': (v) => Concept.fromBuffer(v),
  'Concept.create': (v) => Concept.create(v),
  'Concept.union': (v) => Concept.union(concept, v),
  'Concept.intersection': (v) => Concept.intersection(v),
  'Concept.difference': (v) => Concept.difference(v, concept),
  'Concept.jaccard': (v) => Concept.jaccard(concept, v),
  'concept.with': (v) => concept.with(v),
  'concept.withIdentifier': (v) => concept.withIdentifier(v),
  'concept.withIdentifier, instead': (v) => concept.withIdentifier('V9*', v),
  'concept.with, subjects': (v) => concept.with({ subjects: v }),
  'concept.with, tensors': (v) => concept.with({ tensors: v }),
  'concept.with, device': (v) => concept.with({ device: v }),
  'concept.with, precision': (v) => concept.with({ precision: v }),
  'concept.with, report': (v) => concept.with({ report: v }),
  'concept.save': (v) => concept.save(typeof v === 'string' ? file(v) : v),
  'concept.indicesFor': (v) => concept.indicesFor(v),
  'concept.equals': (v) => expect(concept.equals(v)).toBe(false),
  'saveImage, file': (v) => saveImage(v, image),
  'saveImage, picture': (v) => saveImage(file('a.png'), v),
  'saveImage, options': (v) => saveImage(file('a.jpg'), image, v),
  'saveImage, quality': (v) => saveImage(file('a.jpg'), image, { quality: v }),
  'saveImage, metadata': (v) => saveImage(file('a.png'), image, { metadata: v }),
  'saveImage, one of the metadata': (v) => saveImage(file('a.png'), image, { metadata: { a: v } }),
  makeGrid: (v) => makeGrid(v),
  'makeGrid, picture': (v) => makeGrid([v]),
  'makeGrid, columns': (v) => makeGrid([image], v),
  'makeGrid, gap': (v) => makeGrid([image], 1, v),
  readPictureSettings: (v) => readPictureSettings(v),
  drawAgain: (v) => engine.drawAgain(v),
  'drawAgain, options': async (v) => engine.drawAgain(await image.toBuffer(), v),
  'drawAgain, image': async (v) => engine.drawAgain(await image.toBuffer(), { image: v }),
  'drawAgain, concepts': async (v) => engine.drawAgain(await image.toBuffer(), { concepts: v }),
  readMetadata: (v) => readMetadata(v),
  readSubject: (v) => readSubject(v),
  'readSubject, options': (v) => readSubject(path.join(__dirname, '../../examples/subjects/boar'), v),
  'readSubject, category': (v) => readSubject(path.join(__dirname, '../../examples/subjects/boar'), { category: v }),
  'image.save': (v) => image.save(v),
  'image.toBuffer': (v) => image.toBuffer(v),
  'image.toBuffer, format': (v) => image.toBuffer({ format: v }),
  encodeImage: (v) => engine.encodeImage(v),
  encodePrompt: (v) => engine.encodePrompt(v),
  'encodePrompt, options': (v) => engine.encodePrompt('a', v),
  decode: (v) => engine.decode(v),
  denoise: (v) => engine.denoise(v, [1], states),
  'denoise, timesteps': (v) => engine.denoise(latents, v, states),
  'denoise, concepts': (v) => engine.denoise(latents, [1], states, { concepts: v }),
  conceptGradient: (v) => engine.conceptGradient(latents, [1], states, v),
  'conceptGradient, withRespectTo': (v) => engine.conceptGradient(latents, [1], states, { target: latents.data, concepts: concept, withRespectTo: v }),
  'conceptGradient, tensors': (v) => engine.conceptGradient(latents, [1], states, { target: latents.data, tensors: v }),
  vjp: (v) => engine.vjp(latents, [1], states, v),
  'vjp, options': (v) => engine.vjp(latents, [1], states, latents.data, v),
  schedule: (v) => engine.schedule(v),
  'schedule, sampler': (v) => engine.schedule({ sampler: v }),
  addNoise: (v) => engine.addNoise(v, latents.data, [1]),
  'addNoise, noise': (v) => engine.addNoise(latents, v, [1]),
  'addNoise, timesteps': (v) => engine.addNoise(latents, latents.data, v),
  'search.stepOn': (v) => search.stepOn(v),
  'search.stepOn, captions': (v) => search.stepOn({ latents, noise: latents.data, timesteps: [1], captions: v }),
  'generate, image': (v) => engine.generate({ prompt: 'a', steps: 1, image: v }),
  'generate, strength': (v) => engine.generate({ prompt: 'a', steps: 1, image, strength: v }),
  'generate, mask': (v) => engine.generate({ prompt: 'a', steps: 1, image, mask: v }),
  'generate, depth': (v) => engine.generate({ prompt: 'a', steps: 1, image, depth: v }),
  'generate, imageGuidance': (v) => engine.generate({ prompt: 'a', steps: 1, image, imageGuidance: v }),
  'generate, decoder': (v) => engine.generate({ prompt: 'a', steps: 1, decoder: v }),
  'Engine.load, drafts': async (v) => (await Engine.load(MODEL, { drafts: v })).dispose(),
  'generate, posterior': (v) => engine.generate({ prompt: 'a', steps: 1, image, posterior: v }),
  'generate, promptSyntax': (v) => engine.generate({ prompt: 'a', steps: 1, promptSyntax: v }),
  'generate, weighted': (v) => engine.generate({ prompt: v, steps: 1, promptSyntax: 'weighted' }),
  'planGenerate, tokens': (v) => engine.planGenerate({ tokens: v }),
  'generate, latents': (v) => engine.generate({ prompt: 'a', steps: 1, latents: v }),
  'generate, embeddings': (v) => engine.generate({ steps: 1, embeddings: v }),
  'generate, negativeEmbeddings': (v) => engine.generate({ prompt: 'a', steps: 1, negativeEmbeddings: v }),
  'generate, output': (v) => engine.generate({ prompt: 'a', steps: 1, output: v }),
  'generate, onLatents': (v) => engine.generate({ prompt: 'a', steps: 1, onLatents: v }),
  'generate, onPreview': (v) => engine.generate({ prompt: 'a', steps: 1, onPreview: v }),
  planGenerate: (v) => engine.planGenerate(v),
  planSearch: (v) => engine.planSearch(v),
  planRefinement: (v) => engine.planRefinement(v),
  generate: (v) => engine.generate(v),
  'generate, iterated': iterate,
  'generate, concepts': (v) => engine.generate({ prompt: 'a', steps: 1, concepts: v }),
  'generate, regions': (v) => engine.generate({ prompt: 'a', steps: 1, regions: v }),
  'generate, region': (v) => engine.generate({ prompt: 'a', steps: 1, concepts: [concept], regions: { [concept.subjects[0]!.identifier]: v } }),
  findConcept: (v) => engine.findConcept(v),
  'findConcept, images': (v) => engine.findConcept({ images: v, category: 'a', token: 'q' }),
  'generate, negativePrompt': (v) => engine.generate({ prompt: 'a', steps: 1, negativePrompt: v }),
  'startSearch, onWarning': async (v) => (await engine.startSearch({ ...options, onWarning: v })).dispose(),
  'encodeImage, options': (v) => engine.encodeImage([], v),
  'decode, options': (v) => engine.decode(latents, v),
  'encodePrompt, concepts': (v) => engine.encodePrompt('a', { concepts: v }),
  'concept.assertBaseModel': (v) => concept.assertBaseModel(v),
  'clip.embedImages': (v) => clip.embedImages(v),
  'clip.embedTexts': (v) => clip.embedTexts(v),
  'startSearch, report': async (v) => (await engine.startSearch({ ...options, report: v })).dispose(),
  'startSearch, resume': async (v) => (await engine.startSearch({ ...options, resume: v })).dispose(),
  'startSearch, checkpoint': async (v) => (await engine.startSearch({ ...options, checkpoint: v })).dispose(),
  'startSearch, checkpoint.save': async (v) => (await engine.startSearch({ ...options, checkpoint: { every: 1, save: v } })).dispose(),
  'startSearch, captions': async (v) => (await engine.startSearch({ ...options, captions: v })).dispose(),
  refineConcepts: (v) => engine.refineConcepts(v),
  'refineConcepts, subjects': (v) => engine.refineConcepts({ subjects: v }),
  'startRefinement, subject': async (v) => (await engine.startRefinement({ subjects: [v, v] })).dispose(),
  'startRefinement, concept': async (v) => (await engine.startRefinement({ subjects: [{ concept: v, images: options.images }, { concept, images: options.images }] })).dispose(),
  'startRefinement, images': async (v) => (await engine.startRefinement({ subjects: [{ concept, images: v }, { concept: conceptOf(engine, 1, 7, 'V2*', 'z'), images: v }], priorBatchSize: 0 })).dispose(),
  'search.run': (v) => search.run(v),
  'search.ranking': (v) => search.ranking(v),
  'search.select': (v) => search.select(v),
  'search.finish': (v) => search.finish(v),
};

test.each(Object.keys(CALLS))('%s', async (name) => {
  const untyped: string[] = [];
  for (const [i, value] of STRANGE.entries()) {
    try {
      await CALLS[name]!(value as never);
    } catch (error) {
      const { code, message } = Object(error) as { code?: string; message?: string };
      if (code === undefined || !Object.hasOwn(ERROR_CODES, code) || code === 'CONES_INTERNAL') untyped.push(`${i}: ${code}: ${message}`);
    }
  }
  expect(untyped).toEqual([]);
});
