// Pictures drawn from pictures, against diffusers' own pipelines (scripts/golden/editing.py), and what is refused.
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type ConesError, Engine, type GenerateOptions, saveImage } from '../../lib';
import { runCli } from '../cli-run';
import { Golden } from '../goldens/golden';
import { conceptOf } from '../runtime/model';

const models = path.join(__dirname, '../goldens/models');
const PIPELINE = path.join(models, 'pipeline');
const golden = new Golden(path.join(models, 'editing'));
interface Run {
  sampler: string;
  steps: number;
  strength?: number;
  guidance?: number;
  imageGuidance?: number;
  eta?: number;
}
const { runs, guidance } = JSON.parse(readFileSync(path.join(models, 'editing/golden.json'), 'utf8')) as { runs: Record<string, Run>; guidance: number };

const bytes = (name: string) => Uint8Array.from(golden.data(name));
const tensor = <Shape extends readonly number[]>(name: string) => ({ data: Float32Array.from(golden.data(name)), shape: golden.shape(name) as unknown as Shape });
const image = { width: 64, height: 64, data: bytes('image') };
const mask = { width: 64, height: 64, data: bytes('mask') };
const depth = { width: 24, height: 20, data: Float32Array.from(golden.data('depth_map')) };

let folder: string;
const engines = new Map<string, Engine>();
/** The pipeline's model with another UNet. */
function modelOf(unet: string): string {
  const root = path.join(folder, unet);
  mkdirSync(root);
  for (const part of ['text_encoder', 'tokenizer', 'vae', 'scheduler']) symlinkSync(path.join(PIPELINE, part), path.join(root, part));
  cpSync(path.join(PIPELINE, 'model_index.json'), path.join(root, 'model_index.json'));
  symlinkSync(path.join(models, 'editing', unet), path.join(root, 'unet'));
  return root;
}
beforeAll(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'cones-editing-'));
  for (const unet of ['inpainting', 'picture', 'depth', 'lcm']) engines.set(unet, await Engine.load(modelOf(unet), { threads: 1 }));
  const plain = await Engine.load(PIPELINE, { threads: 1 });
  engines.set('image', plain).set('known', plain);
});
afterAll(async () => {
  for (const engine of engines.values()) await engine.dispose();
  rmSync(folder, { recursive: true });
});

const INPUTS: Readonly<Record<string, Partial<GenerateOptions>>> = {
  image: { image },
  known: { image, mask },
  inpainting: { image, mask },
  picture: { image },
  depth: { image, depth },
  lcm: {},
};

describe('equals diffusers', () => {
  const texts = () => ({ embeddings: tensor<[number, number, number]>('embeddings'), negativeEmbeddings: tensor<[number, number, number]>('negative') });
  test.each(Object.entries(runs))('%s', async (name, run) => {
    const kind = name.split('.')[0]!;
    const options: GenerateOptions = { guidance, ...run, ...texts(), ...INPUTS[kind]!, latents: tensor<[number, number, number, number]>('noise'), output: 'latents' };
    const { latents } = await engines.get(kind)!.generate(options);
    expect(golden.judge(name, latents!.data)).toMatchObject({ ok: true });
  });

  test('whatever is drawn with it', async () => {
    const engine = engines.get('known')!;
    const [noise, one] = [tensor<[number, number, number, number]>('noise'), texts()];
    const twice = <T extends { data: Float32Array; shape: readonly number[] }>({ data, shape }: T) => ({ data: Float32Array.of(...data, ...data), shape: [2 * shape[0]!, ...shape.slice(1)] }) as unknown as T;
    const options = { ...runs['known.euler']!, guidance, output: 'latents' as const };
    const { latents } = await engine.generate({
      ...options, embeddings: twice(one.embeddings), negativeEmbeddings: twice(one.negativeEmbeddings), latents: twice(noise),
      image: [{ ...image, data: image.data.map((value) => 255 - value) }, image], mask: [{ ...mask, data: mask.data.map((value) => 255 - value) }, mask],
    });
    expect(golden.judge('known.euler', latents!.data.subarray(latents!.data.length / 2))).toMatchObject({ ok: true });
  });
});

describe('a picture in', () => {
  const draw = async (options: Partial<GenerateOptions>) => (await engines.get('image')!.generate({ prompt: 'a cat', seed: 5, steps: 4, sampler: 'ddim', ...options })).images[0]!;

  test('may be drawn from again, in memory or as a file', async () => {
    const first = await draw({});
    const file = await first.toBuffer();
    const [second, third] = [await draw({ image: first, strength: 0.5 }), await draw({ image: file, strength: 0.5 })];
    expect(second.data).toEqual(third.data);
    expect(second.data).not.toEqual(first.data);
    expect(first.metadata['strength']).toBeUndefined();
    expect(second.metadata).toMatchObject({ strength: '0.5', imageHash: expect.stringMatching(/^sha256:/) as string, parameters: expect.stringContaining('Denoising strength: 0.5') as string });
  });

  test('is drawn again from what its file says and the very pictures', async () => {
    const engine = engines.get('image')!;
    const drawn = await draw({ image, mask, strength: 0.75, posterior: 'sample' });
    const file = await drawn.toBuffer();
    const { images } = await engine.drawAgain(file, { image, mask });
    expect(images[0]!.data).toEqual(drawn.data);
    await expect(engine.drawAgain(file, { image })).rejects.toMatchObject({ code: 'CONES_PICTURE_MISMATCH', message: expect.stringContaining('mask') as string });
    await expect(engine.drawAgain(file, { image: { ...image, data: image.data.map((value, i) => (i === 0 ? 255 - value : value)) }, mask })).rejects.toMatchObject({ code: 'CONES_PICTURE_MISMATCH' });
    const plain = await (await draw({})).toBuffer();
    await expect(engine.drawAgain(plain, { image })).rejects.toMatchObject({ code: 'CONES_PICTURE_MISMATCH' });
  });

  test('of a posterior: another latent for each seed, the mode for all', async () => {
    const latents = async (options: Partial<GenerateOptions>) =>
      (await engines.get('image')!.generate({ prompt: 'a cat', seed: 5, count: 2, steps: 50, strength: 0.02, sampler: 'ddim', guidance: 1, image, latents: { data: new Float32Array(2 * 256), shape: [2, 4, 8, 8] }, output: 'latents', ...options })).latents!.data;
    const mode = await latents({});
    expect(mode.subarray(0, 256)).toEqual(mode.subarray(256));
    const sample = await latents({ posterior: 'sample' });
    expect(sample.subarray(0, 256)).not.toEqual(sample.subarray(256));
    expect(sample).toEqual(await latents({ posterior: 'sample' }));
  });

  test.each([['alone', false], ['with a subject in a region of its own', true]])('keeps what is black in the mask: its latents are the picture\'s; %s', async (_, placed) => {
    const engine = engines.get('image')!;
    const regions = placed ? { concepts: [conceptOf(engine, 0)], regions: { 'V1*': [0, 0, 0.5, 1] as const } } : {};
    const { latents } = await engine.generate({ prompt: 'a V1* cat', seed: 5, steps: 3, sampler: 'euler-ancestral', image, mask, output: 'latents', ...regions });
    const moments = await engine.encodeImage({ data: Float32Array.from(image.data, (value) => value / 127.5 - 1), shape: [1, 64, 64, 3] });
    let [kept, painted] = [0, 0];
    for (let i = 0; i < 64; i++) {
      const pixel = 3 * (Math.floor(i / 8) * 8 * 64 + (i % 8) * 8);
      for (let c = 0; c < 4; c++) {
        const [got, known] = [latents!.data[c * 64 + i]!, Math.fround(0.18215 * moments.data[c * 64 + i]!)];
        if (mask.data[pixel]! < 128) {
          expect(got).toBe(known);
          kept++;
        } else if (got !== known) painted++;
      }
    }
    expect(kept + painted).toBe(256);
    expect(Math.min(kept, painted)).toBeGreaterThan(20);
  });
});

test.each(['picture', 'inpainting', 'depth'])('%s, with subjects in regions of their own: a picture does not depend on what is drawn with it', async (kind) => {
  const engine = engines.get(kind)!;
  const [cat, dog] = [conceptOf(engine, 0), conceptOf(engine, 1, 7, 'V2*', 'z')];
  const options: GenerateOptions = { prompt: 'a V1* cat and a V2* dog', concepts: [cat, dog], regions: { 'V1*': [0, 0, 0.5, 1], 'V2*': [0.5, 0, 1, 1] }, seed: 5, steps: 3, sampler: 'euler', output: 'latents', ...INPUTS[kind]! };
  const both = (await engine.generate({ ...options, count: 2 })).latents!.data;
  const second = (await engine.generate({ ...options, seed: 6 })).latents!.data;
  expect(both.subarray(second.length)).toEqual(second);
  const { regions, ...plain } = options;
  expect(regions).toBeDefined();
  expect((await engine.generate({ ...plain, seed: 6 })).latents!.data).not.toEqual(second);
});

test('by the command line: from files, and again', async () => {
  const at = (name: string) => path.join(folder, name);
  await saveImage(at('from.png'), image);
  await saveImage(at('mask.png'), mask);
  const run = (...args: string[]) => runCli(['generate', '--model', PIPELINE, '--threads', '1', ...args]);
  const inputs = ['--image', at('from.png'), '--mask', at('mask.png')];
  expect(await run('a cat', ...inputs, '--strength', '0.5', '--steps', '4', '--seed', '3', '-o', at('one.png'))).toMatchObject({ code: 0, stderr: '' });
  const { images } = await engines.get('image')!.generate({ prompt: 'a cat', image, mask, strength: 0.5, steps: 4, seed: 3 });
  expect(readFileSync(at('one.png'))).toEqual(await images[0]!.toBuffer());
  expect(await run('--from', at('one.png'), ...inputs, '-o', at('two.png'))).toMatchObject({ code: 0 });
  expect(readFileSync(at('two.png'))).toEqual(readFileSync(at('one.png')));
  expect(await run('--from', at('one.png'), '--image', at('from.png'), '-o', at('three.png'))).toMatchObject({ code: 1, stderr: expect.stringMatching(/^error CONES_PICTURE_MISMATCH: .*--mask/) as string });
});

describe('memory', () => {
  test.each(['known', 'picture', 'depth', 'inpainting'])('%s: planned to the byte', async (kind) => {
    const root = kind === 'known' ? PIPELINE : path.join(folder, kind);
    const options = { prompt: ['a', 'b'], steps: 3, batchSize: 2, seed: 1, ...INPUTS[kind]! } as GenerateOptions;
    await using engine = await Engine.load(root, { threads: 1 });
    const plan = engine.planGenerate({ count: 2, batchSize: 2, image: true, mask: kind === 'known' });
    await engine.generate(options);
    expect(engine.memory().peak).toBeLessThanOrEqual(plan.peak);
    await using enough = await Engine.load(root, { threads: 1, memoryLimit: plan.peak });
    await expect(enough.generate({ ...options, batchSize: 1 })).resolves.toBeDefined();
  });
});

describe('is refused', () => {
  const code = (kind: string, options: object) => engines.get(kind)!.generate({ prompt: 'a', steps: 4, ...options } as GenerateOptions).then(() => 'drawn', (error: unknown) => `${(error as ConesError).code}: ${(error as ConesError).message}`);
  test.each([
    ['image', { strength: 0.5 }, /strength goes with image/],
    ['image', { mask }, /mask goes with image/],
    ['image', { image, strength: 0.2 }, /leaves none of 4 steps/],
    ['image', { image, depth }, /depth is not for a text-to-image model/],
    ['image', { image, imageGuidance: 2 }, /imageGuidance is not for/],
    ['image', { image: [image, image] }, /2 pictures for 1 prompts/],
    ['image', { image: { ...image, width: 63 } }, /the option image/],
    ['inpainting', {}, /image is missing: this is a model for inpainting/],
    ['inpainting', { image }, /mask is missing/],
    ['picture', { image, strength: 0.5 }, /strength is not for a model that follows instructions/],
    ['depth', { image }, /depth is missing/],
    ['depth', { image, depth: { ...depth, data: new Float32Array(480) } }, /not all the same/],
  ])('%s %#', async (kind, options, message) => {
    const refused = await code(kind, options);
    expect(refused).toMatch(/^CONES_OPTION_INVALID: generate: /);
    expect(refused).toMatch(message);
  });

  test('paths, where the engine may read none', async () => {
    await using engine = await Engine.load(PIPELINE, { threads: 1, allowPaths: false });
    await expect(engine.generate({ prompt: 'a', image: 'x.png' })).rejects.toMatchObject({ code: 'CONES_OPTION_INVALID' });
  });

  test('a search on a model for inpainting', async () => {
    await expect(engines.get('inpainting')!.findConcept({ images: [Buffer.from('x')], category: 'cat' })).rejects.toMatchObject({ code: 'CONES_CONFIG_UNSUPPORTED' });
  });
});

test('a latent consistency model draws without a negative prompt, and says so', async () => {
  const { warnings } = await engines.get('lcm')!.generate({ prompt: 'a', negativePrompt: 'b', steps: 1, sampler: 'lcm', seed: 1 });
  expect(warnings).toMatchObject([{ code: 'negative-prompt-unused' }]);
});
