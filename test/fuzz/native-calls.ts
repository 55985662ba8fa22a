// Runs in a child process (native.test.ts): every function of the addon with wrong arguments. Each call is named on
// standard output before it is made, so that a crash can be told; the last line is a JSON list of what was not in order.
import { writeSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { loadModelConfig } from '../../lib/models';
import { readClipConfig } from '../../lib/models/clip';
import { native } from '../../lib/native';
import { ERROR_CODES } from '../../lib/errors';
import type { NativeSearchOptions, NativeTrainingOptions } from '../../typings/native';
import { loadNative, MODEL } from '../runtime/model';

type Arguments = readonly unknown[];
type Call = readonly [name: string, run: (...values: never[]) => unknown, valid: Arguments];

const floats = (length: number) => Float32Array.from({ length }, (_, i) => Math.sin(i));

/** An array whose buffer was given away. */
function detached(): Float32Array {
  const array = floats(8);
  structuredClone(array.buffer, { transfer: [array.buffer] });
  return array;
}

/** An array of a buffer that has shrunk since. */
function outOfBounds(): Float32Array {
  // ES2024, which the types do not know yet.
  const Resizable = ArrayBuffer as unknown as new (size: number, options: { maxByteLength: number }) => ArrayBuffer & { resize(size: number): void };
  const buffer = new Resizable(64, { maxByteLength: 64 });
  const array = new Float32Array(buffer, 32, 8);
  buffer.resize(16);
  return array;
}

class Own extends Error {}
const throwing = new Proxy({}, {
  get() {
    throw new Own('a getter of the caller');
  },
});

const HOSTILE: readonly unknown[] = [
  undefined, null, NaN, Infinity, -Infinity, -1, 0, 0.5, 2, 2 ** 14, 2 ** 31, 2 ** 32 + 1, 2 ** 53, 1e308, '', 'x', '\0', true, 1n, -(2n ** 70n), Symbol('s'),
  {}, [], [[]], [undefined], ['x'], [-1], [{}], [null, null, null], new Array(1000), () => undefined, throwing, [throwing],
  new Float32Array(0), floats(1), floats(7), Float32Array.of(NaN, Infinity), new Float64Array(3), Float64Array.of(-1, NaN, 1e300), Int32Array.of(-1), Int32Array.of(2 ** 31 - 1, 0, 5),
  Uint32Array.of(2 ** 32 - 1), [Uint32Array.of(3, 2), Uint32Array.of(2 ** 32 - 1)], new BigUint64Array(2), Buffer.from('state'), new Uint8Array(40), new DataView(new ArrayBuffer(8)), new ArrayBuffer(8),
  detached(), outOfBounds(), new Float32Array(new SharedArrayBuffer(32)), new Map(), new Date(NaN), Object.create(null),
];

const isOptions = (value: unknown): value is Record<string, unknown> => Object.prototype.toString.call(value) === '[object Object]' && Object.getPrototypeOf(value) === Object.prototype;

/** The valid arguments with one of them, at any depth of options, replaced by something hostile. */
function* mutations(valid: unknown): Generator<readonly [path: string, value: unknown]> {
  for (const [i, value] of HOSTILE.entries()) yield [`= ${i}`, value];
  if (isOptions(valid)) {
    for (const [key, value] of Object.entries(valid)) {
      for (const [path, changed] of mutations(value)) yield [`.${key}${path}`, { ...valid, [key]: changed }];
    }
  } else if (Array.isArray(valid)) {
    // Lists of numbers and the like are short: their first entry stands for all.
    for (const [i, value] of HOSTILE.entries()) yield [`[0] = ${i}`, [value, ...(valid as unknown[]).slice(1)]];
  } else if (ArrayBuffer.isView(valid) && 'length' in valid) {
    const array = valid as Float32Array;
    yield ['.slice(1)', array.slice(1)];
    if (!Buffer.isBuffer(array)) yield ['twice', new (array.constructor as typeof Float32Array)(array.length * 2)];
  }
}

/** Right, but nobody wants to wait for it. */
const isEndless = (name: string, path: string, value: unknown): boolean =>
  ((name === 'search.run' || name === 'training.run') && path.startsWith('.steps') && typeof (value as { steps: unknown }).steps === 'number' && (value as { steps: number }).steps > 2) ||
  (name === 'randomNormal' && typeof value === 'number' && value > 2 ** 20);

async function main(): Promise<void> {
  const addon = native();
  const config = await loadModelConfig(MODEL);
  const place = { device: 'cpu', precision: 'auto', threads: 1, memoryLimit: 2 ** 28, hostMemory: 2 ** 30 };
  const { text: clipText, vision, projectionSize, eosTokenId, files } = await readClipConfig(`${MODEL}/../clip-model-first-eos`);
  const clipOptions = { text: clipText, vision, projectionSize, eosTokenId, files, ...place };
  const model = await loadNative();
  const foreign = await loadNative();
  const clip = await addon.loadClip(clipOptions);
  const { inChannels: channels, crossAttentionDim: width } = config.unet;
  const [height, side, tokens] = [8, 4, 3];
  const latent = channels * height * side;
  const { text } = config;
  const kv = model.kvTensors;
  const names = kv.map(({ name }) => name);
  const nothing = kv.map(() => new Uint32Array());
  const mask = await model.createMask(nothing.map(() => Uint32Array.of(0, 5)));
  const otherMask = await foreign.createMask(nothing);
  const [layer] = model.adaptable();
  const matrix = (...shape: number[]) => ({ dtype: 'F32', shape, data: new Uint8Array(4 * shape.reduce((a, b) => a * b)) }) as const;
  const [out = 0, into = 0, ...window] = layer!.shape;
  const layers = [{ part: layer!.part, name: layer!.name, scale: 0.5, down: matrix(2, into, ...window), up: matrix(out, 2) }];
  const adapter = await model.createAdapter(layers, {});
  const gone = await model.createAdapter(layers, {});
  gone.dispose();
  const uses = [{ adapter, weight: 0.5 }];
  const abort = new addon.NativeAbort();
  const job = { batch: 2, height, width: side };
  const denoise = { ...job, latents: floats(2 * latent), timesteps: Float64Array.of(1, 900), embeddings: floats(2 * tokens * width), tokens, masks: [mask, null], abort };
  const gradient = { ...denoise, target: floats(2 * latent), weights: Float64Array.of(1, 0.5), tensors: [names[0]!, 'conv_in.weight'], wantLatents: true, wantEmbeddings: true, checkpointing: false };
  const alphasCumprod = Float64Array.from({ length: 1000 }, (_unused, t) => 1 - (t + 1) / 1001);
  const sample = {
    ...denoise, negativeEmbeddings: floats(2 * tokens * width), guidance: 2, seeds: BigUint64Array.of(1n, 2n), onStep: () => undefined, latentsEvery: 1, adapters: [uses, null],
    steps: Float64Array.of(900, 1, 1, -1, 0.5, 0.5, 0, 0, 0, 0, 0.1, 1, 1, 1, -1, 0.5, 0.5, 0.1, 0, 0, 0, 0),
  };
  const loss = { ...denoise, timesteps: Float64Array.of(1, 900), moments: floats(4 * latent), latentScale: 0.2, alphasCumprod, prediction: 'epsilon' as const, seed: 1n };
  const searchOptions: NativeSearchOptions = {
    batch: 3, height, width: side, moments: floats(6 * latent), subjects: 2, embeddings: floats(2 * tokens * width), tokens, captions: Int32Array.of(0, 0, 1), captionOffsets: Int32Array.of(0, 1, 2, 3),
    latentScale: 0.2, subjectBatch: 1, priorBatch: 1, priorWeight: 1, alphasCumprod, prediction: 'epsilon', minTimestep: 0, maxTimestep: 1000, algorithm: 'a2', optimizer: 'adam', learningRate: 1e-5,
    beta1: 0.9, beta2: 0.999, epsilon: 1e-8, clamp: true, shut: 2, ramp: 1, tensors: Int32Array.of(0, 3), within: [Uint32Array.of(1, 2), Uint32Array.of(0)], seed: 1n, checkpointing: false, abort,
  };
  const identifier = { tokens: Int32Array.of(1), starts: [Uint32Array.of(2, 3)], captions: Int32Array.of(0), ids: Int32Array.of(0, 1, 5), learningRate: 1e-4, normLimit: 1 };
  /** What is wrong may show in the first step only. */
  const startSearch = async (o: NativeSearchOptions) => {
    const started = await model.createSearch(o);
    await started.run({ steps: 1 });
    return started;
  };
  const search = await model.createSearch(searchOptions);
  const learning = await model.createSearch({ ...searchOptions, identifier });
  const state = await search.saveState();
  const trainingOptions: NativeTrainingOptions = {
    batch: 3, height, width: side, moments: floats(6 * latent), subjects: 2, embeddings: floats(2 * tokens * width), tokens, captions: Int32Array.of(0, 0, 1), captionOffsets: Int32Array.of(0, 1, 2, 3),
    latentScale: 0.2, subjectBatch: 1, priorBatch: 1, priorWeight: 1, alphasCumprod, prediction: 'epsilon', minTimestep: 0, maxTimestep: 1000, learningRate: 1e-5, beta1: 0.9, beta2: 0.999, epsilon: 1e-8,
    weightDecay: 0.01, weights: 'kv', tensors: Int32Array.of(2, 3), firstTokenFixed: true, seed: 1n, checkpointing: false, abort,
  };
  const startTraining = async (o: NativeTrainingOptions) => {
    const started = await model.createTraining(o);
    await started.run({ steps: 1 });
    return started;
  };
  const training = await model.createTraining(trainingOptions);
  const inverting = await model.createTraining({ ...trainingOptions, weights: 'none', identifier });
  const load = { unet: { ...config.unet }, text: { ...text }, vae: { ...config.vae }, ...place, planOnly: false };
  const pixels = floats(2 * 64 * 32 * 3);
  const { imageSize } = vision;

  const calls: Call[] = [
    ['loadModel', (o: never) => addon.loadModel(o), [load]],
    ['loadModel, drafts', (o: never) => addon.loadModel(o), [{ ...load, drafts: { ...load.vae } }]],
    ['loadModel, tensors', (o: never) => addon.loadModel(o), [{ ...load, unet: { ...load.unet, tensors: await addon.readSafetensors(load.unet.files[0]!) } }]],
    ['readSafetensors', (file) => addon.readSafetensors(file), [load.unet.files[0]!]],
    ['loadClip', (o: never) => addon.loadClip(o), [clipOptions]],
    ['listDevices', (v) => (addon.listDevices as (value: never) => unknown)(v), [undefined]],
    ['loadModel, planOnly', async (o: never) => (await addon.loadModel(o)).planText(1, tokens), [{ ...load, planOnly: true }]],
    ['randomNormal', (...v) => addon.randomNormal(...(v as unknown as [bigint, number, number])), [1n, 0, 16]],
    ['kvBytes', (i) => model.kvBytes(i), [0]],
    ['planDenoise', (...v) => model.planDenoise(...(v as unknown as [number, number, number, number])), [1, height, side, tokens]],
    ['planSample', (o) => model.planSample(o), [{ ...job, tokens, guided: true, regions: 2, window: { height, width: side }, byPicture: false, known: false, adapters: uses }]],
    ['planText', (...v) => model.planText(...(v as unknown as [number, number])), [1, tokens]],
    ['planEncode', (...v) => model.planEncode(...(v as unknown as [number, number, number, number])), [2, 64, 32, 1e6]],
    ['planDecode', (...v) => model.planDecode(...(v as unknown as [number, number, number, number, boolean])), [2, height, side, 1e6, false]],
    ['wordNorm', (o) => model.wordNorm(o), [{ abort }]],
    ['trim', (o) => model.trim(o), [{ abort }]],
    ['recentSteps', (v) => (model.recentSteps as (value: never) => unknown)(v), [undefined]],
    ['availableMemory', (o) => model.availableMemory(o), [{ abort }]],
    ['planGradient', (o) => model.planGradient(o), [{ ...job, tokens, tensors: names, checkpointing: true }]],
    ['planSearch', (o) => model.planSearch(o), [{ ...job, pictures: 3, captions: 2, tokens, tensors: Int32Array.of(0, 3), optimizer: 'adam', checkpointing: false, identifierRows: 1 }]],
    ['encodeText', (...v) => model.encodeText(...(v as unknown as [Int32Array, number, object])), [new Int32Array(2 * tokens), 2, { replaceIds: Int32Array.of(0), replaceRows: floats(text.hiddenSize), adapters: uses, abort }]],
    ['tokenGradient', (o) => model.tokenGradient(o), [{ ids: new Int32Array(2 * tokens), rows: 2, tokens: Int32Array.of(0, 5), upstream: floats(2 * tokens * text.hiddenSize), abort }]],
    ['encodeImages', (...v) => model.encodeImages(...(v as unknown as [Float32Array, number, number, number, object])), [pixels, 2, 64, 32, { abort }]],
    ['decode', (...v) => model.decode(...(v as unknown as [Float32Array, number, number, number, object])), [floats(2 * latent), 2, height, side, { abort }]],
    ['denoise', (o) => model.denoise(o), [denoise]],
    ['sample', (o) => model.sample(o), [sample]],
    ['sample, from pictures', (o) => model.sample(o), [{ ...sample, imageGuidance: 1.5, known: { image: floats(2 * latent), noise: floats(2 * latent), mask: floats(2 * height * side), shares: Float64Array.of(1, 0.5, 1, 0) } }]],
    ['sample, with conditions', (o) => model.sample(o), [{ ...sample, conditions: floats(4) }]],
    ['sample, regions', (o) => model.sample(o), [{ ...sample, batch: 1, adapters: [uses], latents: floats(latent), seeds: BigUint64Array.of(1n), regions: 2, windows: Int32Array.of(height, side, 0, 0, 0, 0), weights: floats(2 * height * side) }]],
    ['gradient', (o) => model.gradient(o), [gradient]],
    ['gradient, upstream', (o) => model.gradient(o), [{ ...gradient, target: undefined, weights: undefined, upstream: floats(2 * latent) }]],
    ['loss', (o) => model.loss(o), [loss]],
    ['createAdapter', (...v) => model.createAdapter(...(v as unknown as [typeof layers, object])), [layers, { abort }]],
    ['createMask', (o) => model.createMask(o), [nothing]],
    ['createSearch', (o) => startSearch(o), [searchOptions]],
    ['createSearch, identifier', (o) => startSearch({ ...searchOptions, identifier: o }), [identifier]],
    ['kvValues', (i) => model.kvValues(i), [0]],
    ['planTraining', (o) => model.planTraining(o), [{ ...job, pictures: 3, captions: 2, tokens, weights: 'kv', tensors: Int32Array.of(2, 3), checkpointing: false, identifierRows: 1, identifiers: 1 }]],
    ['createTraining', (o) => startTraining(o), [trainingOptions]],
    ['createTraining, unet', (o) => startTraining({ ...trainingOptions, weights: 'unet', ...(o as object) }), [{ learningRate: 1e-5 }]],
    ['createTraining, identifier', (o) => startTraining({ ...trainingOptions, identifier: o }), [identifier]],
    ['training.run', (o) => training.run(o), [{ steps: 1, share: 0.5, onStep: () => undefined, abort }]],
    ['training.update', (o) => training.update(o), [{ ...denoise, masks: undefined, target: floats(2 * latent), weights: Float64Array.of(1, 1) }]],
    ['training.loadState', (o) => training.loadState(o), [await training.saveState()]],
    ['training.weights', () => training.weights(), []],
    ['inverting.loadState', (o) => inverting.loadState(o), [await inverting.saveState()]],
    ['inverting.embeddings', () => inverting.embeddings(), []],
    ['search.run', (o) => search.run(o), [{ steps: 1, share: 0.5, onStep: () => undefined, abort }]],
    ['search.update', (o) => search.update(o), [{ ...denoise, masks: undefined, target: floats(2 * latent), weights: Float64Array.of(1, 1) }]],
    ['search.loadState', (o) => search.loadState(o), [state]],
    ['learning.loadState', (o) => learning.loadState(o), [await learning.saveState()]],
    ['learning.run', () => learning.run({ steps: 1 }), []],
    ['learning.embedding', () => learning.embedding(), []],
    ['search.ranking', (o) => search.ranking(o), ['displacement']],
    ['search.selectThreshold', (...v) => search.selectThreshold(...(v as unknown as ['score', number])), ['score', 0]],
    ['search.selectCount', (...v) => search.selectCount(...(v as unknown as ['score', number])), ['score', 3]],
    ['embedImages', (...v) => clip.embedImages(...(v as unknown as [Float32Array, { batch: number }])), [floats(imageSize * imageSize * 3), { batch: 1, abort }]],
    ['embedTexts', (...v) => clip.embedTexts(...(v as unknown as [Int32Array, { batch: number }])), [new Int32Array(8), { batch: 2, abort }]],
    ...[model, search, training, mask, clip, abort].map((object): Call => [`new ${object.constructor.name}`, (...v) => new (object.constructor as new (...values: unknown[]) => unknown)(...v), [undefined]]),
  ];

  const problems: string[] = [];
  let refused = 0;
  /** 'accepted', or the code of what it was refused with: one of ours, unless the caller's own getter threw. */
  async function attempt(label: string, run: () => unknown): Promise<string | undefined> {
    writeSync(1, `${label}\n`);
    try {
      await run();
      return 'accepted';
    } catch (error) {
      const { code, message } = Object(error) as { code?: string; message?: string };
      const typed = code !== undefined && Object.hasOwn(ERROR_CODES, code) && code !== 'CONES_INTERNAL';
      // What V8 itself says about receivers, constructors and conversions is a TypeError.
      if (!typed && !(error instanceof Own) && !(error instanceof TypeError)) problems.push(`${label}: ${code}: ${message}`);
      refused++;
      return code;
    }
  }

  const before = await model.denoise({ ...denoise, abort: undefined as never });
  for (const [name, run, valid] of calls) {
    if (!name.startsWith('new ') && (await attempt(`${name}: valid`, () => run(...(valid as never[])))) !== 'accepted') problems.push(`${name}: refuses valid arguments`);
    for (const [i, argument] of valid.entries()) {
      for (const [path, value] of mutations(argument)) {
        if (isEndless(name, path, value)) continue;
        await attempt(`${name}: argument ${i}${path}`, () => run(...([...valid.slice(0, i), value, ...valid.slice(i + 1)] as never[])));
      }
    }
    for (const receiver of [undefined, {}, mask, search, clip, abort, model]) {
      const owner = [addon, model, search, clip].find((object) => name.replace('search.', '') in object);
      const method = owner && (owner as unknown as Record<string, (...values: never[]) => unknown>)[name.replace('search.', '')];
      if (method && owner !== addon && receiver !== owner) await attempt(`${name} on another object`, () => method.apply(receiver, valid as never[]));
    }
  }
  // Ragged and strange in ways that one replaced argument does not reach.
  const endlessState = Buffer.from(state);
  endlessState.writeBigInt64LE(2n ** 62n, 16); // the steps done
  const pretender = (prototype: object): never => Object.create(prototype) as never;
  const wrong: (readonly [label: string, code: string, run: () => unknown])[] = [
    ['a mask of another model', 'CONES_CONCEPT_MISMATCH', () => model.denoise({ ...denoise, masks: [otherMask, null] })],
    ['an abort by prototype only', 'CONES_OPTION_INVALID', () => model.denoise({ ...denoise, abort: pretender(addon.NativeAbort.prototype) })],
    ['a mask by prototype only', 'CONES_OPTION_INVALID', () => model.denoise({ ...denoise, masks: [pretender(Object.getPrototypeOf(mask) as object), null] })],
    ['a mask that says it is an abort', 'CONES_OPTION_INVALID', () => model.denoise({ ...denoise, abort: Object.setPrototypeOf(otherMask, addon.NativeAbort.prototype) as never })],
    ...['gpu', 'cuda:', 'cuda:-1', 'cuda:1e3', 'cpu:0', ' cpu'].map((device) => [`the device ${device}`, 'CONES_OPTION_INVALID', () => addon.loadModel({ ...load, device })] as const),
    ['a precision', 'CONES_OPTION_INVALID', () => addon.loadModel({ ...load, precision: 'int8' })],
    ['a job of a model for plans', 'CONES_OPTION_INVALID', async () => (await addon.loadModel({ ...load, planOnly: true })).denoise({ ...denoise, masks: undefined as never })],
    ['an adapter of another model', 'CONES_ADAPTER_MISMATCH', () => foreign.sample({ ...sample, masks: undefined, adapters: [uses, null] } as never)],
    ['an adapter that was disposed', 'CONES_DISPOSED', () => model.sample({ ...sample, adapters: [[{ adapter: gone, weight: 1 }], null] })],
    ['a mask of a model for plans', 'CONES_OPTION_INVALID', async () => (await addon.loadModel({ ...load, planOnly: true })).createMask(nothing)],
    ['a search of a model for plans', 'CONES_OPTION_INVALID', async () => (await addon.loadModel({ ...load, planOnly: true })).createSearch(searchOptions)],
    ['ragged ids', 'CONES_OPTION_INVALID', () => model.tokenGradient({ ids: new Int32Array(5), rows: 2, tokens: Int32Array.of(0), upstream: floats(4 * text.hiddenSize) })],
    ['a weight named twice', 'CONES_OPTION_INVALID', () => model.gradient({ ...gradient, tensors: [names[0]!, names[0]!] })],
    ['a state that is not bytes', 'CONES_OPTION_INVALID', () => search.loadState(new Float32Array(state.length / 4) as never)],
    ['a state of endless steps', 'CONES_STATE_INVALID', () => search.loadState(endlessState)],
  ];
  for (const [label, code, run] of wrong) if ((await attempt(label, run)) !== code) problems.push(`${label} is not refused with ${code}`);
  const after = await model.denoise({ ...denoise, abort: undefined as never });
  if (!isDeepStrictEqual(before, after)) problems.push('the model draws something else afterwards');

  search.dispose();
  learning.dispose();
  training.dispose();
  inverting.dispose();
  clip.dispose();
  await Promise.all([model.dispose(), foreign.dispose()]);
  for (const [name, run, valid] of calls) {
    if (!/^(load|list|random|readSafetensors|new )/.test(name) && (await attempt(`${name}: disposed`, () => run(...(valid as never[])))) !== 'CONES_DISPOSED') problems.push(`${name} is not refused after dispose()`);
  }
  writeSync(1, `${JSON.stringify({ refused, problems })}\n`);
}

void main();
