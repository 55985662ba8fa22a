// Pictures of several regions, and learned identifiers no longer than words, on a tiny model with random weights.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Concept, Engine, GenerateOptions } from '../../lib';
import { fromFloat16Bits } from '../../lib/concept-file/float16';
import { conceptOf, load, MODEL, pictures } from '../runtime/model';

let engine: Engine;
let cat: Concept;
let dog: Concept;
beforeAll(async () => {
  engine = await load();
  cat = conceptOf(engine, 0);
  dog = conceptOf(engine, 1, 7, 'V2*', 'z');
});
afterAll(() => engine.dispose());

const draw = async (options: GenerateOptions) => (await engine.generate({ steps: 2, seed: 3, ...options })).images.map(({ data }) => Buffer.from(data));
const both = { prompt: 'a V1* cat and a V2* dog', regions: { 'V1*': [0, 0, 0.5, 1], 'V2*': [0.5, 0, 1, 1] } } as const;

test.each([1, 7.5])('a region everywhere is the plain picture, guidance %p', async (guidance) => {
  const plain = { prompt: 'a V1* cat', concepts: [cat], guidance, count: 2 };
  expect(await draw({ ...plain, regions: { 'v1*': [0, 0, 1, 1] } })).toEqual(await draw(plain));
  // Half the picture is another one.
  expect(await draw({ ...plain, regions: { 'V1*': [0, 0, 0.5, 1] } })).not.toEqual(await draw(plain));
});

test('side by side, each is the narrow picture of its half of the noise, but for the margin', async () => {
  // No margin, no feather: the halves are what two narrow pictures are, latent by latent.
  const [height, width] = [8, 8];
  const noise = Float32Array.from({ length: 4 * height * width }, (_, i) => Math.sin(i * i));
  const half = (from: Float32Array, side: number) => from.filter((_, i) => Math.floor((i % width) / (width / 2)) === side);
  const settings = { steps: 2, seed: 3, output: 'latents', feather: 0, negativePrompt: 'blue' } as const;
  const size = { height: height * 8, width: width * 8 };
  const whole = await engine.generate({ ...settings, ...size, prompt: 'a photo of a V1* cat and a V2* cat at night', concepts: [cat, dog], regions: both.regions, latents: { data: noise, shape: [1, 4, height, width] } });
  for (const [side, [prompt, concept]] of ([['a photo of a V1* cat at night', cat], ['a photo of a V2* cat at night', dog]] as const).entries()) {
    const alone = await engine.generate({ ...settings, height: size.height, width: size.width / 2, prompt, concepts: [concept], latents: { data: half(noise, side), shape: [1, 4, height, width / 2] } });
    expect(half(whole.latents!.data, side)).toEqual(alone.latents!.data);
  }
});

test('one concept in two places is one concept everywhere, but for rounding', async () => {
  const twice = await engine.generate({ prompt: 'a V1* cat', concepts: [cat], steps: 2, seed: 3, regions: { 'V1*': [[0, 0, 0.5, 1], [0.5, 0, 1, 1]] } });
  expect(Buffer.from(twice.images[0]!.data)).toEqual((await draw({ prompt: 'a V1* cat', concepts: [cat] }))[0]);
});

test('a picture does not depend on who else is drawn, nor on the batch', async () => {
  const options = { ...both, concepts: [cat, dog], guidance: 3 };
  const together = await draw({ ...options, count: 5 });
  for (const [i, image] of together.entries()) expect((await draw({ ...options, seed: 3 + i, batchSize: 1 }))[0]).toEqual(image);
  const [alone, beside] = await Promise.all([draw(options), draw({ prompt: 'a dog', guidance: 3 }), draw({ ...options, seed: 9 })]);
  expect(alone[0]).toEqual(together[0]);
  expect(beside[0]).toEqual((await draw({ prompt: 'a dog', guidance: 3 }))[0]);
});

test("'auto' is what the prompt says, prompt by prompt", async () => {
  const prompts = ['a V1* cat and a V2* dog', 'a V1* cat', 'a V1* cat to the right of a V2* dog'];
  const { images } = await engine.generate({ prompt: prompts, concepts: [cat, dog], steps: 1, seed: 3, regions: 'auto' });
  expect(images.map(({ metadata }) => metadata['regions'])).toEqual(['{"V1*":[[0,0,0.5,1]],"V2*":[[0.5,0,1,1]]}', undefined, '{"V2*":[[0,0,0.5,1]],"V1*":[[0.5,0,1,1]]}']);
  expect(Buffer.from(images[0]!.data)).toEqual((await draw({ ...both, concepts: [cat, dog], steps: 1 }))[0]);
});

test('a learned identifier is kept to the length of words, while it is learned or when it is used', async () => {
  const file = readFileSync(path.join(MODEL, 'text_encoder/model.safetensors'));
  const length = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString('utf8', 8, 8 + length)) as Record<string, { dtype: string; shape: [number, number]; data_offsets: [number, number] }>;
  const [, { dtype, shape, data_offsets: [begin, end] }] = Object.entries(header).find(([name]) => name.endsWith('token_embedding.weight'))!;
  expect(dtype).toBe('F16');
  const bits = new Uint16Array(file.buffer.slice(file.byteOffset + 8 + length + begin, file.byteOffset + 8 + length + end));
  const values = Float32Array.from(bits, fromFloat16Bits);
  const norms = Array.from({ length: shape[0] }, (_, row) => Math.hypot(...values.subarray(row * shape[1], (row + 1) * shape[1])));
  const mean = norms.reduce((a, b) => a + b, 0) / norms.length;

  const search = { images: await pictures(2), category: 'cat', token: 'q', steps: 3, priorCount: 2, cacheDir: null, embeddingRate: 1, report: { pictures: 0, rows: 1, densities: [0.02] } };
  const norm = ({ subjects: [subject] }: Concept) => Math.hypot(...subject!.embedding!.values);
  const free = await engine.findConcept(search);
  expect(norm(free)).toBeGreaterThan(mean);
  expect(norm(await engine.findConcept({ ...search, embeddingNorm: 0.5 }))).toBeCloseTo(0.5 * mean, 3);

  const [subject] = free.subjects;
  const factor = (0.5 * mean) / norm(free);
  const byHand = free.with({ subjects: [{ ...subject!, embedding: { dtype: 'float32', values: subject!.embedding!.values.map((value) => value * factor) } }] });
  const drawn = { prompt: 'a V1* cat', concepts: [free], embeddingNorm: 0.5 };
  const [tamed, hand, wild] = [await draw(drawn), await draw({ ...drawn, concepts: [byHand], embeddingNorm: 100 }), await draw({ ...drawn, embeddingNorm: 100 })];
  const difference = (a: Buffer, b: Buffer) => a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0);
  expect(difference(tamed[0]!, hand[0]!)).toBeLessThanOrEqual(1);
  expect(difference(wild[0]!, hand[0]!)).toBeGreaterThan(1);
});
