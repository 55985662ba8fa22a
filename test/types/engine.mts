// The public API as a user of ES modules sees it: compiled, never run.
import { type Adapter, type AdapterChoice, type AdapterKind, Clip, Concept, type DownloadProgress, Engine, type EngineStats, type GenerateResult, type Latents, type Preview, type PromptSyntax, pullModel, type Schedule, type SearchProgress, type StepLatents, type Vjp } from 'cones';

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
  const both = Concept.union(cat, (await Concept.load('mug.cones')).withIdentifier('V2*'));

  const drawing = engine.generate({ prompt: ['a V1* cat', 'a V2* mug'], concepts: [[cat], [both]], seed: 7n, signal });
  for await (const { step, steps, remainingMs, queued = 0 } of drawing) void (step + steps + remainingMs + queued);
  const result: GenerateResult = await drawing;
  const png: Buffer = await result.images[0]!.toBuffer({ format: 'webp' });
  void png;

  await using limited = await Engine.load('models/mini', { maxQueue: 8, limits: { size: 512, count: 4 } });
  const { waiting, running, rowsPerStep, memory }: EngineStats = limited.stats();
  void (waiting + running + rowsPerStep + memory.cached + memory.forGradients);
  await limited.trim();
  await engine.findConcept({ images: ['1.png'], category: 'cat', priority: 'background' });
  // @ts-expect-error -- no such priority
  await engine.findConcept({ images: ['1.png'], category: 'cat', priority: 'urgent' });

  const promptSyntax: PromptSyntax = 'weighted';
  await engine.generate({ prompt: 'a (V1* cat:1.2)', promptSyntax });
  // @ts-expect-error -- no such syntax
  await engine.generate({ prompt: 'a cat', promptSyntax: 'compel' });
  const text = await engine.encodePrompt('a V1* cat', { concepts: [cat], promptSyntax });
  const latents = { data: new Float32Array(256), shape: [1, 4, 8, 8] as const };
  const output: Float32Array = await engine.denoise(latents, [500], text, { concepts: cat });
  const { loss, gradients } = await engine.conceptGradient(latents, [500], text, { target: output, concepts: [[cat], null], withRespectTo: 'weights' });
  const gradient: Float32Array | undefined = gradients.get('mid_block');
  void [loss, gradient];

  const noise = new Float32Array(256);
  const noisy: Latents = engine.addNoise(latents, noise, [500]);
  const { timesteps, sigmas, alphasCumprod }: Schedule = engine.schedule({ sampler: 'euler', steps: 20 });
  const pulled: Vjp = await engine.vjp(noisy, [500], text, output, { wantLatents: true });
  using lora: Adapter = await engine.loadAdapter('ink.safetensors', { name: 'ink' });
  const adapters: AdapterChoice[] = [lora, { adapter: lora, weight: 0.8 }];
  await engine.generate({ prompt: ['a', 'b'], adapters: [adapters, []] });
  const kind: AdapterKind = lora.kind;
  void kind;
  const own = await engine.generate({ embeddings: text, latents, output: 'latents', onLatents: ({ predicted }: StepLatents) => void predicted, onPreview: ({ image }: Preview) => void image.width });
  const edited = await engine.generate({ prompt: 'a', image: own.images[0]!, mask: 'mask.png', strength: 0.5, posterior: 'sample' });
  await engine.generate({ prompt: ['a', 'b'], image: ['a.png', Buffer.alloc(1)], depth: { width: 1, height: 2, data: Float32Array.of(0, 1) }, imageGuidance: 2 });
  await engine.drawAgain(await edited.images[0]!.toBuffer(), { image: own.images[0]!, mask: 'mask.png' });
  await using drafting = await Engine.load('models/mini', { drafts: 'taesd' });
  await drafting.generate({ prompt: 'a', decoder: 'drafts' });
  // @ts-expect-error -- no such posterior
  await engine.generate({ prompt: 'a', image: 'a.png', posterior: 'mean' });
  const final: Latents | undefined = own.latents;
  const search = await engine.startSearch({ images: ['1.png'], category: 'cat', learnEmbedding: false, checkpoint: { every: 25, save: async (state: Buffer, step: number) => void [state, step] } });
  const { rows }: { rows: Float64Array } = await search.stepOn({ latents, noise, timesteps: [500], captions: ['a V1* cat'] });
  void [timesteps, sigmas, alphasCumprod, pulled, final, rows];

  // @ts-expect-error -- the category is not optional
  await engine.findConcept({ images: ['1.png'] });
  await engine.generate({ prompt: 'a V1* cat above a V2* mug', concepts: [cat, both], regions: { 'V1*': [0, 0, 1, 0.5], 'V2*': { width: 2, height: 1, data: Uint8Array.of(0, 255) } } });
  await engine.generate({ prompt: 'a V1* cat', regions: 'auto', feather: 0, regionPrompt: 'whole', embeddingNorm: 1 });
  // @ts-expect-error -- three numbers are no box
  await engine.generate({ prompt: 'a cat', regions: { 'V1*': [0, 0, 1] } });
  await engine.generate({ prompt: 'a cat', sampler: 'plms' });
  const { folder, license, files } = await pullModel('org/model', { signal, onProgress: ({ received, total }: DownloadProgress) => void (received / total) });
  const name: string | null = license.name;
  await using named = await Engine.load('hf:org/model@main', { signal, onDownload: ({ file }) => void file });
  void [folder, name, files[0]?.size, named];
  // @ts-expect-error -- progress is told to onDownload here
  await Engine.load('hf:org/model', { onProgress: () => undefined });
  await using clip = await Clip.load('models/mini-clip');
  void clip;
}
