// The public API as a user of ES modules sees it: compiled, never run.
import { Clip, Concept, Engine, type GenerateResult, type SearchProgress } from 'cones';

export async function quickStart(signal: AbortSignal): Promise<void> {
  await using engine = await Engine.load('models/mini', { device: 'auto', threads: 2 });
  const cat: Concept = await engine.findConcept({
    images: ['1.png', new Uint8Array(8)],
    category: 'cat',
    density: 0.005,
    onProgress: ({ phase, step }: SearchProgress) => void `${phase} ${step}`,
    signal,
  });
  await cat.save('cat.cones');
  const both = Concept.union(cat, await Concept.load('mug.cones'));

  const drawing = engine.generate({ prompt: ['a V1* cat', 'a V2* mug'], concepts: [[cat], [both]], seed: 7n, signal });
  for await (const { step, steps, remainingMs } of drawing) void (step + steps + remainingMs);
  const result: GenerateResult = await drawing;
  const png: Buffer = await result.images[0]!.toBuffer({ format: 'webp' });
  void png;

  const text = await engine.encodePrompt('a V1* cat', { concepts: [cat] });
  const latents = { data: new Float32Array(256), shape: [1, 4, 8, 8] as const };
  const output: Float32Array = await engine.denoise(latents, [500], text, { concepts: cat });
  const { loss, gradients } = await engine.conceptGradient(latents, [500], text, { target: output });
  const gradient: Float32Array | undefined = gradients.get('mid_block');
  void [loss, gradient];

  // @ts-expect-error -- the category is not optional
  await engine.findConcept({ images: ['1.png'] });
  await engine.generate({ prompt: 'a V1* cat above a V2* mug', concepts: [cat, both], regions: { 'V1*': [0, 0, 1, 0.5], 'V2*': { width: 2, height: 1, data: Uint8Array.of(0, 255) } } });
  await engine.generate({ prompt: 'a V1* cat', regions: 'auto', feather: 0, regionPrompt: 'whole', embeddingNorm: 1 });
  // @ts-expect-error -- three numbers are no box
  await engine.generate({ prompt: 'a cat', regions: { 'V1*': [0, 0, 1] } });
  // @ts-expect-error -- no such sampler
  await engine.generate({ prompt: 'a cat', sampler: 'plms' });
  await using clip = await Clip.load('models/mini-clip');
  void clip;
}
