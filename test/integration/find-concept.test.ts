// What a search ends with: the concept, its report, and what is kept from one call to the next.
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Clip, Concept, cosine, Engine, type FindConceptOptions, type PictureReport, type SearchProgress, type SearchReport, type Selection } from '../../lib';
import * as generate from '../../lib/engine/generate';
import * as text from '../../lib/engine/text';
import * as report from '../../lib/analysis/report';
import { load, loadNative, MODEL, pictures, searchOptions } from '../runtime/model';

let engine: Engine;
beforeAll(async () => void (engine = await load()));
afterAll(() => engine.dispose());

const start = async (changes: Partial<FindConceptOptions> = {}) => engine.startSearch(await searchOptions(changes));

describe('findConcept()', () => {
  interface Losses { subject: number; prior: number }
  interface Report {
    loss: Record<'untouched' | 'shut' | 'random', Losses>;
    sweep: (Losses & { density: number; neurons: number })[];
    pictures: Pick<PictureReport, 'alignment' | 'prompts'> & { change: Record<string, number> } | null;
  }

  test('tells of all phases, chooses a density of the list and reports what it measured', async () => {
    const phases = new Map<string, number>();
    const options = await searchOptions({
      onProgress: ({ phase, step, steps }) => {
        expect(step).toBeLessThanOrEqual(steps);
        phases.set(phase, step / steps);
      },
      density: 'auto',
      report: { rows: 4, pictures: 1, densities: [0.05, 0.2], steps: 2 },
    });
    const concept = await engine.findConcept(options);
    expect([...phases.keys()].sort()).toEqual(['encode', 'prior', 'report', 'search']);
    expect([...phases.values()]).toEqual([1, 1, 1, 1]);
    expect(concept).toMatchObject({ method: 'algorithm-a2-straight-through', steps: 3, subjects: [{ identifier: 'V1*', token: 'q', category: 'cat' }] });

    const report = concept.report as unknown as Report;
    expect(report.sweep.map(({ density }) => density)).toEqual([0.05, 0.2]);
    const best = [...report.sweep].sort((a, b) => a.subject + a.prior - b.subject - b.prior)[0]!;
    expect(concept.neuronCount).toBe(best.neurons);
    expect(report.loss.shut).toEqual({ subject: best.subject, prior: best.prior });
    const { untouched, shut, random } = report.loss;
    expect(new Set([untouched.subject, shut.subject, random.subject]).size).toBe(3);
    expect(report.pictures!.change['category']).toBeGreaterThan(0);

    const reread = Concept.fromBuffer(concept.toBuffer());
    expect(reread.equals(concept)).toBe(true);
    const { images } = await engine.generate({ prompt: 'a V1* cat', concepts: [reread], steps: 1 });
    expect(images).toHaveLength(1);
  });

  test('the loss is the subject\'s and λ times the prior\'s, whatever their batches (Eq. 4)', async () => {
    const losses: SearchProgress[] = [];
    const onProgress = (progress: SearchProgress) => void (progress.phase === 'search' && losses.push(progress));
    await engine.findConcept(await searchOptions({ batchSize: 2, priorBatchSize: 3, priorWeight: 0.25, onProgress }));
    expect(losses).toHaveLength(3);
    for (const { loss, subjectLoss, priorLoss } of losses) expect(loss).toBeCloseTo(subjectLoss! + 0.25 * priorLoss!, 6);
  });

  test('takes a given density, or threshold, without a sweep', async () => {
    const weights = engine.kvTensors.reduce((sum, { shape: [rows, columns] }) => sum + rows * columns, 0);
    const dense = await engine.findConcept(await searchOptions({ density: 0.03 }));
    expect(dense.neuronCount).toBe(Math.round(0.03 * weights));
    expect((dense.report as unknown as Report).sweep).toEqual([]);
    const all = await engine.findConcept(await searchOptions({ threshold: 0 }));
    expect(all.neuronCount).toBeGreaterThan(dense.neuronCount);
  });

  describe('with a CLIP pair', () => {
    const PAIR = path.join(__dirname, '../../models/mini-clip');
    const report = { rows: 2, pictures: 2, densities: [0.2], steps: 2 };

    test('reports the alignment of what is drawn, as the paper defines it', async () => {
      const options = await searchOptions({ seed: 5, report: { ...report, clip: PAIR, otherCategory: 'owl' } });
      const concept = await engine.findConcept(options);
      const { alignment, prompts } = (concept.report as unknown as Report).pictures!;

      await using clip = await Clip.load(PAIR, { threads: 1 });
      const subject = await clip.embedImages(options.images);
      const expected = async (prompt: string, text: string, concepts: Concept[]) => {
        const { images } = await engine.generate({ prompt, concepts, count: 2, seed: 5, steps: 2, sampler: 'dpm-solver-multistep' });
        const drawn = await clip.embedImages(await Promise.all(images.map((image) => image.toBuffer())));
        const [said] = await clip.embedTexts([text]);
        const average = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
        return {
          image: average(drawn.flatMap((one) => subject.map((own) => cosine(one, own)))),
          text: average(drawn.map((one) => cosine(one, said!))),
        };
      };
      const rows: [keyof typeof prompts, string, string][] = [
        ['identifier', 'photo of a q cat', 'photo of a cat'],
        ['category', 'photo of a cat', 'photo of a cat'],
        ['other', 'photo of an owl', 'photo of an owl'],
      ];
      for (const [name, plain, text] of rows) {
        for (const [when, prompt, concepts] of [['untouched', plain, []], ['shut', prompts[name], [concept]]] as const) {
          const { image, text: said } = await expected(prompt, text, [...concepts]);
          expect(alignment![name].image[when]).toBeCloseTo(image, 6);
          expect(alignment![name].text[when]).toBeCloseTo(said, 6);
        }
      }
    });

    test('takes the folder beside the model, or one that is loaded; null turns it off', async () => {
      const folder = mkdtempSync(path.join(os.tmpdir(), 'cones-'));
      symlinkSync(MODEL, path.join(folder, 'model'));
      symlinkSync(PAIR, path.join(folder, 'model-clip'));
      await using beside = await Engine.load(path.join(folder, 'model'), { threads: 1 });
      await using clip = await Clip.load(PAIR, { threads: 1 });
      const alignmentOf = async (own: Engine, choice: { clip?: Clip | null }) => {
        const concept = await own.findConcept(await searchOptions({ report: { ...report, ...choice } }));
        return (concept.report as unknown as Report).pictures!.alignment;
      };
      const given = await alignmentOf(engine, { clip });
      expect(given).not.toBeNull();
      expect(await alignmentOf(beside, {})).toEqual(given);
      expect(await alignmentOf(beside, { clip: null })).toBeNull();
      expect(await alignmentOf(engine, {})).toBeNull();
      rmSync(folder, { recursive: true });
    });
  });

  test('uses the identifier as it is given', async () => {
    const concept = await engine.findConcept(await searchOptions({ identifier: '<kitty>', token: 'w' }));
    const { warnings } = await engine.generate({ prompt: 'a <kitty> cat', concepts: [concept], steps: 1 });
    expect(warnings).toEqual([]);
  });
});

describe('what is known is not computed again', () => {
  const encode = jest.spyOn(text, 'encodePrompts');
  const loss = jest.spyOn(report, 'meanLoss');
  const draw = jest.spyOn(generate, 'generate');
  beforeEach(() => jest.clearAllMocks());
  afterAll(() => jest.restoreAllMocks());

  /** Options whose prior pictures are given, so that captions are all that is encoded. */
  const given = async (changes: Partial<FindConceptOptions> = {}) => {
    const captions = ['a V1* cat', 'a cat', 'V1*'];
    const { priorCount, ...options } = await searchOptions({ captions, priorImages: await pictures(2), priorCaptions: ['photo of a cat', 'a cat'], ...changes });
    expect(priorCount).toBe(2);
    return options;
  };
  const encoded = () => encode.mock.calls.map(([, prompts]) => prompts);

  test('captions are encoded once', async () => {
    await engine.findConcept(await given({ learnEmbedding: false }));
    expect(encoded()).toEqual([['a V1* cat', 'a cat', 'V1*', 'photo of a cat']]);
  });

  test('of a learned identifier, the default, those are again that name it', async () => {
    const concept = await engine.findConcept(await given());
    expect(encoded()).toEqual([['a V1* cat', 'a cat', 'V1*', 'photo of a cat'], ['a V1* cat', 'V1*']]);
    const { loss: losses } = concept.report as unknown as SearchReport;
    expect(losses.random.subject).not.toBe(losses.untouched.subject);
  });

  test('the untouched model is measured and drawn once', async () => {
    const search = await start({ density: 'auto', report: { rows: 4, pictures: 1, steps: 2, densities: [0.05, 0.2] } });
    await search.run();
    const measures = async (selection?: Selection) => {
      jest.clearAllMocks();
      const concept = await search.finish(selection);
      return { losses: loss.mock.calls.length, drawings: draw.mock.calls.length, report: concept.report as unknown as SearchReport };
    };
    const first = await measures();
    // Two densities, the untouched model and a random mask, each on pictures of the subject and of the prior.
    expect(first).toMatchObject({ losses: 8, drawings: 2 });
    expect(await measures()).toEqual({ losses: 6, drawings: 1, report: first.report });
    const other = await measures({ density: 0.1 });
    expect(other).toMatchObject({ losses: 4, drawings: 1, report: { loss: { untouched: first.report.loss.untouched } } });
    await search.run(search.step + 1); // the search goes on, the model stays
    expect((await measures()).report.loss.untouched).toEqual(first.report.loss.untouched);
    search.dispose();
  });
});

describe('prior pictures', () => {
  let folder: string;
  beforeAll(() => void (folder = mkdtempSync(path.join(os.tmpdir(), 'cones-'))));
  afterAll(() => rmSync(folder, { recursive: true }));

  /** Whether a search of the model had to draw them. */
  async function draws(model: string, changes: Partial<FindConceptOptions> = {}): Promise<boolean> {
    await using own = await Engine.load(model, { threads: 1 });
    const phases = new Set<string>();
    const search = await own.startSearch(await searchOptions({ cacheDir: path.join(folder, 'cache'), onProgress: ({ phase }) => void phases.add(phase), ...changes }));
    search.dispose();
    return phases.has('prior');
  }

  /** The model with one byte of a weight that is no K-V weight changed: its fingerprint stays. */
  function changed(part: string, file: string, tensor: RegExp): string {
    const copy = path.join(folder, part);
    cpSync(MODEL, copy, { recursive: true });
    const weights = path.join(copy, part, file);
    const bytes = readFileSync(weights);
    const start = 8 + Number(bytes.readBigUInt64LE());
    const header = JSON.parse(bytes.toString('utf8', 8, start)) as Record<string, { data_offsets: [number, number] }>;
    const [, { data_offsets }] = Object.entries(header).find(([name]) => tensor.test(name))!;
    bytes[start + data_offsets[1] - 1]! ^= 1; // the exponent of its last value
    writeFileSync(weights, bytes);
    return copy;
  }

  test('are drawn once for a model, a category, a count and a guidance', async () => {
    expect(await draws(MODEL)).toBe(true);
    expect(await draws(MODEL)).toBe(false);
    expect(await draws(MODEL, { category: 'dog' })).toBe(true);
    expect(await draws(MODEL, { priorCount: 3 })).toBe(true);
    expect(await draws(MODEL, { priorGuidance: 1 })).toBe(true);
    expect(await draws(MODEL)).toBe(false);
  });

  test('are drawn fewer at a time where memory is short, and come out the same', async () => {
    /** How many were done after every drawing, what is in the cache then, and how the search ended. */
    const draw = async (name: string, memoryLimit?: number) => {
      await using own = await Engine.load(MODEL, { threads: 1, ...(memoryLimit === undefined ? {} : { memoryLimit }) });
      const done: number[] = [];
      const cacheDir = path.join(folder, name);
      const onProgress = ({ phase, step }: SearchProgress) => void (phase === 'prior' && done.push(step));
      const code = await own.startSearch(await searchOptions({ priorCount: 5, cacheDir, onProgress })).then(
        (search) => search.dispose(),
        (error: { code: string }) => error.code,
      );
      return { done, code, files: readdirSync(cacheDir).map((file) => [file, readFileSync(path.join(cacheDir, file)).toString('hex')]) };
    };
    const model = await loadNative();
    const { weights } = model.memory(); // part of the limit
    const ample = await draw('ample');
    expect(ample).toMatchObject({ done: [4, 5], code: undefined });
    // Room to draw, not to search.
    const tight = await draw('tight', weights + model.planSample({ batch: 2, height: 8, width: 8, tokens: 77, guided: true }));
    expect(tight).toMatchObject({ done: [2, 4, 5], code: 'CONES_OUT_OF_MEMORY', files: ample.files });
    const none = await draw('ample', weights + model.planSample({ batch: 1, height: 8, width: 8, tokens: 77, guided: true }) - 1);
    expect(none).toMatchObject({ done: [], code: 'CONES_OUT_OF_MEMORY' });
    await model.dispose();
  });

  test('are drawn anew for a model that differs outside its K-V weights', async () => {
    await draws(MODEL);
    expect(await draws(changed('unet', 'diffusion_pytorch_model.safetensors', /^conv_out\.weight$/))).toBe(true);
    expect(await draws(changed('text_encoder', 'model.safetensors', /final_layer_norm\.weight$/))).toBe(true);
  });
});

test('a model whose scheduler config the default sampler cannot follow is searched with another one', async () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'cones-'));
  cpSync(MODEL, folder, { recursive: true });
  const file = path.join(folder, 'scheduler/scheduler_config.json');
  writeFileSync(file, JSON.stringify({ ...(JSON.parse(readFileSync(file, 'utf8')) as object), solver_order: 3 }));
  await using own = await Engine.load(folder, { threads: 1 });
  expect(own.sampler).toBe('pndm'); // which has no order
  await expect(own.generate({ prompt: 'a cat', steps: 1, sampler: 'dpm-solver-multistep' })).rejects.toMatchObject({ code: 'CONES_CONFIG_UNSUPPORTED', message: expect.stringMatching(/solver_order.*ddim or euler/) as string });
  expect((await own.generate({ prompt: 'a cat', steps: 1 })).images).toHaveLength(1);
  const concept = await own.findConcept(await searchOptions({ report: { rows: 2, pictures: 1, steps: 2, clip: null } }));
  expect(concept.report).toHaveProperty('pictures.likeness');
  rmSync(folder, { recursive: true });
});

describe('warnings', () => {
  const codes = async (changes: Partial<FindConceptOptions>) => {
    const found: string[] = [];
    await engine.findConcept(await searchOptions({ ...changes, onWarning: ({ code }) => void found.push(code) }));
    return found.filter((code) => code !== 'search-worse'); // as random weights have it
  };

  test('one picture, also one that is given twice', async () => {
    const [one] = await pictures(1);
    expect(await codes({ images: [one!] })).toEqual(['single-picture']);
    expect(await codes({ images: [one!, one!] })).toEqual(['single-picture']);
    expect(await codes({})).toEqual([]);
  });

  test('captions of which something is read as plain text, or cut off', async () => {
    expect(await codes({ captions: ['a V1* cat', 'a V1* [cat]', 'a V9* V1* cat'] })).toEqual(['weighting-syntax', 'unknown-identifier']);
    expect(await codes({ captions: ['a V1* cat', 'a V1* cat', `a V1* cat ${'a '.repeat(80)}`] })).toEqual(['prompt-truncated']);
  });

  test.each([[0.5, ['search-worse']], [0.1, []]] as const)('a held-out loss of %d, where the untouched model has 0.3', async (shut, expected) => {
    const measured = jest.spyOn(report, 'meanLoss').mockImplementation((_, __, mask) => Promise.resolve(mask ? shut : 0.3));
    const warnings: string[] = [];
    await engine.findConcept(await searchOptions({ density: 0.05, onWarning: ({ code }) => void warnings.push(code) }));
    expect(warnings).toEqual(expected);
    measured.mockRestore();
  });
});
