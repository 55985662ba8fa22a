// A picture drawn again from what its file says, through the API and the command line: the same bytes.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type Concept, type Engine, type GenerateOptions, readMetadata, readPictureSettings, saveImage } from '../../lib';
import { runCli } from '../cli-run';
import { conceptOf, load, MODEL } from '../runtime/model';

let folder: string;
let engine: Engine;
let cat: Concept;
let dog: Concept;
const at = (name: string) => path.join(folder, name);
beforeAll(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'cones-again-'));
  engine = await load();
  cat = conceptOf(engine, 0);
  dog = conceptOf(engine, 1, 7, 'V2*', 'z');
  await Promise.all([cat.save(at('cat.cones')), dog.save(at('dog.cones'))]);
});
afterAll(async () => {
  await engine.dispose();
  rmSync(folder, { recursive: true });
});

/** Values other than the defaults, so that each has to come from the file. */
const DRAWINGS: Record<string, GenerateOptions> = {
  'DPM-Solver, negative prompt': { prompt: 'a V1* cat,\n“on” the 🐱', negativePrompt: 'a V2* dog', steps: 3, guidance: 3.3, seed: 2n ** 64n - 1n },
  'DDIM with noise, another size': { prompt: 'a V1* cat', sampler: 'ddim', eta: 0.7, steps: 2, width: 40, height: 56, seed: 8 },
  'DDIM without noise': { prompt: 'a V1* cat and a V2* dog', sampler: 'ddim', steps: 2, seed: 8 },
  'windows': { prompt: 'a V1* cat and a V2* dog at night', regions: { 'V1*': [[0, 0, 0.4, 0.5]], 'V2*': [[0.5, 0.5, 1, 1]] }, feather: 0.1, regionPrompt: 'alone', steps: 2, seed: 4 },
  'boxes, the whole prompt': { prompt: 'a V1* cat and a V2* dog', regions: { 'V1*': [[0, 0, 0.4, 1], [0.8, 0, 1, 1]], 'V2*': [[0.3, 0.1, 0.8, 1]] }, feather: 0.3, regionPrompt: 'whole', steps: 2, seed: 4 },
  'a bitmap': { prompt: 'a V1* cat', regions: { 'V1*': { width: 8, height: 8, data: Uint8Array.from({ length: 64 }, (_, i) => 4 * i) } }, feather: 0, regionPrompt: 'own', embeddingNorm: 0.5, steps: 2, seed: 4 },
  'Euler without guidance': { prompt: 'a V2* cat', sampler: 'euler', steps: 3, guidance: 0, seed: 9 },
};

describe.each(Object.entries(DRAWINGS))('%s', (_, options) => {
  test.each(['png', 'jpg', 'webp'])('%s', async (extension) => {
    const [first, second] = [at(`first.${extension}`), at(`second.${extension}`)];
    const drawn = await engine.generate({ ...options, concepts: [cat, dog] });
    await drawn.images[0]!.save(first);
    const { images, warnings } = await engine.drawAgain(first, { concepts: [dog, cat] });
    expect({ count: images.length, warnings }).toEqual({ count: 1, warnings: drawn.warnings });
    await images[0]!.save(second);
    expect(readFileSync(second)).toEqual(readFileSync(first));

    const { options: said, ...origin } = await readPictureSettings(readFileSync(first));
    // The model's own scheduler is PNDM's, which knows no Karras spacing, as DDIM's.
    const karras = options.sampler === 'euler' ? { useKarrasSigmas: false } : {};
    expect(said).toEqual({ negativePrompt: '', sampler: 'pndm', ...karras, guidance: 7.5, width: 64, height: 64, count: 1, ...(options.sampler === 'ddim' ? { eta: 0 } : {}), ...options, seed: BigInt(options.seed!) });
    expect(origin).toMatchObject({ conceptHashes: [cat.hash, dog.hash], subjects: 'V1* cat, V2* cat', model: engine.fingerprint, instructionSet: engine.instructionSet });
  });
});

test('by the command line: the same file, or what flags change of it', async () => {
  const [first, second] = [at('cli.png'), at('cli-again.png')];
  await (await engine.generate({ ...DRAWINGS['DDIM with noise, another size']!, concepts: [cat] })).images[0]!.save(first);
  const run = (...args: string[]) => runCli(['generate', '--model', MODEL, '--threads', '1', '--from', first, '-o', second, '--concept', at('cat.cones'), ...args]);
  expect(await run()).toMatchObject({ code: 0, stderr: '' });
  expect(readFileSync(second)).toEqual(readFileSync(first));
  expect(await run('--sampler', 'euler', '--seed', '3', 'a V1* dog')).toMatchObject({ code: 0, stderr: '' });
  expect(await readMetadata(second)).toMatchObject({ prompt: 'a V1* dog', sampler: 'euler', seed: '3', steps: '2', width: '40', height: '56' });
  expect(await run('--concept', at('dog.cones'))).toMatchObject({ code: 1, stderr: expect.stringMatching(/^error CONES_PICTURE_MISMATCH: .*V2\*/) as string });
});

test('a grid is drawn again as the pictures it was made of', async () => {
  const generate = (...args: string[]) => runCli(['generate', '--model', MODEL, '--threads', '1', ...args]);
  const grid = ['--grid', '--columns', '2'];
  await generate('a cat', '--count', '3', '--seed', String(2n ** 64n - 2n), '--steps', '2', ...grid, '-o', at('grid.png'));
  await generate('--from', at('grid.png'), ...grid, '-o', at('grid-again.png'));
  expect(readFileSync(at('grid-again.png'))).toEqual(readFileSync(at('grid.png')));
  await generate('--from', at('grid.png'), '-o', at('of-grid.png'));
  expect(readdirSync(folder).filter((name) => name.startsWith('of-grid')).sort()).toEqual(['of-grid-1.png', 'of-grid-2.png', 'of-grid-3.png']);
});

describe('of another program', () => {
  const parameters = 'a (cat:1.3) BREAK b\nNegative prompt: [dog]\nSteps: 2, Sampler: Euler a, CFG scale: 3, Seed: 9, Size: 64x64, Clip skip: 2';
  const options: GenerateOptions = { prompt: 'a (cat:1.3) BREAK b', negativePrompt: '[dog]', promptSyntax: 'weighted', steps: 2, sampler: 'euler-ancestral', guidance: 3, seed: 9, width: 64, height: 64 };

  test('the same settings are drawn, and what is left out is told', async () => {
    await saveImage(at('webui.png'), { width: 1, height: 1, data: new Uint8Array(3) }, { metadata: { parameters } });
    const { images, warnings } = await engine.drawAgain(at('webui.png'));
    expect(warnings).toEqual([{ code: 'drawn-elsewhere', message: expect.stringMatching(/other noise.*Clip skip: 2/) as string }]);
    const [wanted] = (await engine.generate(options)).images;
    expect(images[0]!.data).toEqual(wanted!.data);
    // Now it is one of ours, and says so.
    expect((await engine.drawAgain(await images[0]!.toBuffer())).images[0]!.metadata).toEqual(wanted!.metadata);
  });

  test('a concept can be added to it', async () => {
    const { images } = await engine.drawAgain(at('webui.png'), { concepts: [cat] });
    expect(images[0]!.data).toEqual((await engine.generate({ ...options, concepts: [cat] })).images[0]!.data);
  });

  test('by the command line, with flags in place of what it says', async () => {
    const run = (...args: string[]) => runCli(['generate', '--model', MODEL, '--threads', '1', '-o', at('of-webui.png'), ...args]);
    expect(await run('--from', at('webui.png'))).toMatchObject({ code: 0, stderr: expect.stringContaining('drawn-elsewhere') as string });
    expect(await readMetadata(at('of-webui.png'))).toMatchObject({ promptSyntax: 'weighted', sampler: 'euler-ancestral', negativePrompt: '[dog]' });
    await run('--from', at('webui.png'), '--prompt-syntax', 'plain');
    expect(await readMetadata(at('of-webui.png'))).not.toHaveProperty('promptSyntax');
    expect(await run('a cat', '--prompt-syntax', 'fancy')).toMatchObject({ code: 2, stderr: expect.stringMatching(/CONES_OPTION_INVALID.*promptSyntax/) as string });
  });
});

describe('what cannot be drawn again is told', () => {
  const draw = async (options: Partial<GenerateOptions> = {}) => (await engine.generate({ prompt: 'a V1* cat', steps: 1, seed: 1, concepts: [cat], ...options })).images[0]!;
  /** The picture's file, in which something else is said. */
  const saying = async (changes: Record<string, string>) => {
    const picture = await draw();
    await saveImage(at('said.png'), picture, { metadata: { ...picture.metadata, ...changes } });
    return at('said.png');
  };

  test('without a concept, with another one, or with one that has other neurons', async () => {
    const file = await (await draw()).toBuffer();
    const changed = conceptOf(engine, 0, 8);
    for (const concepts of [[], [dog], [cat, dog], [changed]]) {
      await expect(engine.drawAgain(file, { concepts })).rejects.toMatchObject({ code: 'CONES_PICTURE_MISMATCH' });
    }
    await expect(engine.drawAgain(await (await draw({ concepts: [] })).toBuffer(), { concepts: [cat] })).rejects.toMatchObject({ code: 'CONES_PICTURE_MISMATCH' });
  });

  test('of another base model', async () => {
    await expect(engine.drawAgain(await saying({ model: `sha256:${'0'.repeat(64)}` }), { concepts: [cat] })).rejects.toMatchObject({ code: 'CONES_PICTURE_MISMATCH' });
  });

  test('from another version, or with other instructions: a warning', async () => {
    for (const change of [{ engine: 'cones 0.0.1' }, { instructionSet: 'sse2' }] as Record<string, string>[]) {
      const { warnings } = await engine.drawAgain(await saying(change), { concepts: [cat] });
      expect(warnings).toEqual([{ code: 'drawn-elsewhere', message: expect.stringContaining(Object.values(change)[0]!) as string }]);
    }
  });

  test.each<[string, Record<string, string>, string]>([
    ['no prompt', { prompt: '' }, 'CONES_SETTINGS_MISSING'],
    ['a seed that is none', { seed: '-1' }, 'CONES_SETTINGS_MISSING'],
    ['seeds that do not follow one another', { seed: '1, 3' }, 'CONES_SETTINGS_MISSING'],
    ['an unknown sampler', { sampler: 'magic' }, 'CONES_SETTINGS_MISSING'],
    ['steps that are no number', { steps: 'many' }, 'CONES_SETTINGS_MISSING'],
    ['hashes that are none', { conceptHashes: 'x' }, 'CONES_SETTINGS_MISSING'],
    ['a seed of 67 bits', { seed: '99999999999999999999' }, 'CONES_SETTINGS_MISSING'],
    ['more steps than there are', { steps: '1e+9' }, 'CONES_OPTION_INVALID'],
    ['a huge size', { width: '1e+300' }, 'CONES_OPTION_INVALID'],
  ])('%s', async (_, changes, code) => {
    await expect(engine.drawAgain(await saying(changes), { concepts: [cat] })).rejects.toMatchObject({ code });
  });

  test('a picture of another program', async () => {
    await saveImage(at('plain.png'), { width: 1, height: 1, data: new Uint8Array(3) });
    await expect(readPictureSettings(at('plain.png'))).rejects.toMatchObject({ code: 'CONES_SETTINGS_MISSING', message: expect.stringContaining('plain.png') as string });
    expect(await runCli(['generate', '--model', MODEL, '--from', at('plain.png')])).toMatchObject({ code: 1, stderr: expect.stringMatching(/^error CONES_SETTINGS_MISSING/) as string });
  });
});

describe('concept.hash', () => {
  test('is of what is drawn: neurons, subjects, embeddings, base model', () => {
    const [subject] = cat.subjects;
    const embedding = (value: number) => ({ embedding: { dtype: 'float32' as const, values: Float32Array.of(value, 1) } });
    const others = [
      conceptOf(engine, 1),
      cat.with({ fingerprint: 'sha256:other' }),
      cat.with({ subjects: [{ ...subject!, token: 'z' }] }),
      cat.with({ subjects: [{ ...subject!, ...embedding(1) }] }),
      cat.with({ subjects: [{ ...subject!, ...embedding(2) }] }),
    ];
    expect(new Set([cat, ...others].map(({ hash }) => hash)).size).toBe(6);
  });

  test('is not of how it was found, nor of any order, and outlives a file', () => {
    const both = cat.with({ subjects: [...cat.subjects, ...dog.subjects] });
    const same = both.with({ subjects: [...both.subjects].reverse(), tensors: new Map([...both.tensors].reverse()), method: 'other', steps: 7, report: { a: 1 } });
    expect(same.equals(both)).toBe(true);
    expect(same.hash).toBe(both.hash);
    const { name, shape } = engine.kvTensors[0]!;
    const empty = new Map([['none', { shape, indices: new Uint32Array() }], [name, { shape, indices: Uint32Array.of(1) }]]);
    expect(cat.with({ tensors: empty }).hash).toBe(cat.with({ tensors: new Map([...empty].slice(1)) }).hash);
  });
});
