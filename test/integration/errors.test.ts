// Bad input: each kind has its own code, and an engine that refused something goes on working.
import { cpSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Clip, Concept, Engine, type ErrorCode } from '../../lib';
import { conceptOf, load, MODEL, picture, pictures, rejection, searchOptions } from '../runtime/model';

let folder: string;
let engine: Engine;
beforeAll(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'cones-errors-'));
  engine = await load();
});
afterAll(async () => {
  await engine.dispose();
  rmSync(folder, { recursive: true });
});

const expectCode = async (promise: PromiseLike<unknown>, code: ErrorCode, message?: string | RegExp) => {
  const error = await rejection(promise);
  expect({ code: error.code, name: error.name }).toEqual({ code, name: code === 'CONES_ABORTED' ? 'AbortError' : 'ConesError' });
  if (message !== undefined) expect(error.message).toMatch(message);
};

describe('model folders', () => {
  let copies = 0;
  /** A copy of the model that `damage` has changed. */
  function damaged(damage: (file: (name: string) => string) => void): string {
    const copy = path.join(folder, `model-${copies++}`);
    cpSync(MODEL, copy, { recursive: true });
    damage((name) => path.join(copy, name));
    return copy;
  }
  const editJson = (file: string, changes: object) => writeFileSync(file, JSON.stringify({ ...(JSON.parse(readFileSync(file, 'utf8')) as object), ...changes }));
  const UNET = 'unet/diffusion_pytorch_model.safetensors';

  interface Entry { dtype: string; shape: number[]; data_offsets: [number, number] }
  /** Rewrites the header of a safetensors file; the data stays. */
  function editHeader(file: string, edit: (header: Record<string, Entry>) => void): void {
    const bytes = readFileSync(file);
    const length = Number(bytes.readBigUInt64LE(0));
    const header = JSON.parse(bytes.toString('utf8', 8, 8 + length)) as Record<string, Entry>;
    edit(header);
    const text = Buffer.from(JSON.stringify(header));
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(text.length));
    writeFileSync(file, Buffer.concat([size, text, bytes.subarray(8 + length)]));
  }
  const append = (header: Record<string, Entry>, name: string) => {
    const end = Math.max(...Object.values(header).map(({ data_offsets }) => data_offsets?.[1] ?? 0));
    header[name] = { dtype: 'F16', shape: [0], data_offsets: [end, end] };
  };
  const CONV = 'conv_in.weight';
  const rename = (header: Record<string, Entry>, from: string, to: string) => {
    header[to] = header[from]!;
    delete header[from];
  };

  test.each<[string, ErrorCode, RegExp, (file: (name: string) => string) => void]>([
    ['no folder of a part', 'CONES_MODEL_NOT_FOUND', /vae/, (file) => rmSync(file('vae'), { recursive: true })],
    ['no weights', 'CONES_MODEL_NOT_FOUND', /diffusion_pytorch_model/, (file) => rmSync(file(UNET))],
    ['no tokenizer', 'CONES_MODEL_NOT_FOUND', /tokenizer/, (file) => rmSync(file('tokenizer'), { recursive: true })],
    ['a config that is no JSON', 'CONES_CONFIG_INVALID', /config\.json/, (file) => writeFileSync(file('unet/config.json'), '{')],
    ['a config value that makes no sense', 'CONES_CONFIG_INVALID', /norm_num_groups/, (file) => editJson(file('unet/config.json'), { norm_num_groups: 0 })],
    ['parts that do not fit', 'CONES_CONFIG_INVALID', /cross_attention_dim/, (file) => editJson(file('unet/config.json'), { cross_attention_dim: 48 })],
    ['an unsupported config value', 'CONES_CONFIG_UNSUPPORTED', /"act_fn" is "gelu"/, (file) => editJson(file('unet/config.json'), { act_fn: 'gelu' })],
    ['an unknown config key', 'CONES_CONFIG_UNSUPPORTED', /"new_trick" is 1/, (file) => editJson(file('vae/config.json'), { new_trick: 1 })],
    ['an unsupported class', 'CONES_CONFIG_UNSUPPORTED', /UNet3D/, (file) => editJson(file('model_index.json'), { unet: ['diffusers', 'UNet3D'] })],
    ['a missing tensor', 'CONES_TENSOR_MISSING', /conv_in\.weight/, (file) => editHeader(file(UNET), (header) => rename(header, CONV, 'conv_inn.weight'))],
    ['an extra tensor', 'CONES_TENSOR_UNEXPECTED', /extra\.weight/, (file) => editHeader(file(UNET), (header) => append(header, 'extra.weight'))],
    ['a tensor of another shape', 'CONES_TENSOR_SHAPE', /conv_in\.weight/, (file) => editHeader(file(UNET), (header) => header[CONV]!.shape.reverse())],
    ['a tensor of another type', 'CONES_TENSOR_SHAPE', /conv_in\.weight.*I16/, (file) => editHeader(file(UNET), (header) => (header[CONV]!.dtype = 'I16'))],
    ['truncated weights', 'CONES_SAFETENSORS_INVALID', /outside the file/, (file) => truncateSync(file(UNET), 100_000)],
    ['empty weights', 'CONES_SAFETENSORS_INVALID', /0 bytes/, (file) => truncateSync(file(UNET), 0)],
    ['a header that claims to be huge', 'CONES_SAFETENSORS_INVALID', /header/, (file) => writeFileSync(file(UNET), Buffer.alloc(64, 0xff))],
    ['overlapping tensors', 'CONES_SAFETENSORS_INVALID', /overlap|hole/, (file) =>
      editHeader(file(UNET), (header) => {
        const { data_offsets: offsets } = header[CONV]!;
        header[CONV]!.data_offsets = [offsets[0] + 2, offsets[1] + 2];
      })],
    ['a shape that its bytes do not fill', 'CONES_SAFETENSORS_INVALID', /shape and type need/, (file) => editHeader(file(UNET), (header) => (header[CONV]!.shape[0]! *= 2))],
  ])('%s', async (_, code, message, damage) => {
    await expectCode(Engine.load(damaged(damage), { threads: 1 }), code, message);
  });

  test('a projection that pictures do not need, and notes about averaging, are none', async () => {
    const copy = damaged((file) => {
      editHeader(file('text_encoder/model.safetensors'), (header) => append(header, 'text_projection.weight'));
      editJson(file('text_encoder/config.json'), { architectures: ['CLIPTextModelWithProjection'] });
      editJson(file('unet/config.json'), { decay: 0.9999, optimization_step: 7, use_ema_warmup: false });
    });
    await using loaded = await Engine.load(copy, { threads: 1 });
    expect(loaded.fingerprint).toBe(engine.fingerprint);
  });

  test('a folder that does not exist', () => expectCode(Engine.load(path.join(folder, 'none')), 'CONES_MODEL_NOT_FOUND'));
  test('too little memory for the weights, which no smaller batch would help', async () => {
    for (const loading of [() => load({ memoryLimit: 1_000_000 }), () => Clip.load(path.join(__dirname, '../../models/mini-clip'), { memoryLimit: 1_000_000 })]) {
      const { code, message } = await rejection(loading());
      expect(code).toBe('CONES_OUT_OF_MEMORY');
      expect(message).toMatch(/^The model does not fit into the memory limit of 1 MiB: its weights have \d+ MiB.*memoryLimit/);
      expect(message).not.toMatch(/batch|picture/);
    }
  });

  test('headers of weights count as memory', async () => {
    const strange = damaged((file) => editHeader(file(UNET), (header) => {
      Object.assign(header, { __metadata__: { text: 'x'.repeat(3 << 20) } });
    }));
    // Two MiB more than usual, each byte of which may take twelve.
    await expectCode(Engine.load(strange, { threads: 1, memoryLimit: 24 << 20 }), 'CONES_OUT_OF_MEMORY', /headers of \d MiB/);
    await using engine = await Engine.load(strange, { threads: 1, memoryLimit: 40 << 20 });
    const { limit } = engine.memory();
    expect(limit).toBeGreaterThan(0);
    expect(limit).toBeLessThan(16 << 20);
    // Those that are as usual make no difference.
    await using usual = await load({ memoryLimit: 40 << 20 });
    expect(usual.memory().limit).toBe(40 << 20);
  });

  test('a header of one long name makes a message of a line', async () => {
    for (const name of ['n'.repeat(1000), 'n'.repeat(4 << 20)]) {
      const { code, message } = await rejection(Engine.load(damaged((file) => editHeader(file(UNET), (header) => append(header, name)))));
      expect(['CONES_TENSOR_UNEXPECTED', 'CONES_SAFETENSORS_INVALID']).toContain(code);
      expect(message.length).toBeLessThan(500);
    }
  });
  test.each<[string, object]>([
    ['threads', { threads: 0 }],
    ['threads', { threads: 1.5 }],
    ['memoryLimit', { memoryLimit: -1 }],
    ['device', { device: 'tpu' }],
    ['device', { device: 'cuda:01' }],
    ['precision', { precision: 'int8' }],
    ['planOnly', { planOnly: 1 }],
    ['thread', { thread: 1 }],
  ])('the option %s', (name, options) => expectCode(load(options as never), 'CONES_OPTION_INVALID', name));

  test('weights that are NaN stop a search at its first step, and draw nothing', async () => {
    const copy = damaged((file) => {
      const bytes = readFileSync(file(UNET));
      const start = 8 + Number(bytes.readBigUInt64LE(0));
      const header = JSON.parse(bytes.toString('utf8', 8, start)) as Record<string, Entry>;
      const [begin, end] = header[CONV]!.data_offsets;
      for (let i = start + begin; i < start + end; i += 2) bytes.writeUInt16LE(0x7e00, i);
      writeFileSync(file(UNET), bytes);
    });
    await using broken = await Engine.load(copy, { threads: 1 });
    const search = await broken.startSearch(await searchOptions({ priorWeight: 0 }));
    await expectCode(search.run(), 'CONES_LOSS_NOT_FINITE', /step 1\b/);
    expect(search.step).toBe(0);
    await expectCode(broken.generate({ prompt: 'a', steps: 1 }), 'CONES_LOSS_NOT_FINITE', /not finite/);
  });
});

describe('generate()', () => {
  test.each<[string, object, ErrorCode, RegExp]>([
    ['an empty prompt', { prompt: '' }, 'CONES_PROMPT_EMPTY', /prompt is empty/],
    ['a blank prompt', { prompt: ' \n' }, 'CONES_PROMPT_EMPTY', /prompt is empty/],
    ['one empty prompt among others', { prompt: ['a cat', ''] }, 'CONES_PROMPT_EMPTY', /prompt is empty/],
    ['no prompt', {}, 'CONES_OPTION_INVALID', /prompt/],
    ['no prompts', { prompt: [] }, 'CONES_OPTION_INVALID', /prompt/],
    ['a prompt that is no text', { prompt: 5 }, 'CONES_OPTION_INVALID', /prompt.*must be a text/],
    ['an unknown option', { prompt: 'a', stpes: 5 }, 'CONES_OPTION_INVALID', /stpes/],
    ['no steps', { prompt: 'a', steps: 0 }, 'CONES_OPTION_INVALID', /steps/],
    ['half a step', { prompt: 'a', steps: 1.5 }, 'CONES_OPTION_INVALID', /steps/],
    ['more steps than the model has', { prompt: 'a', steps: 1000 }, 'CONES_OPTION_INVALID', /fewer steps/],
    ['a negative seed', { prompt: 'a', seed: -1 }, 'CONES_OPTION_INVALID', /seed/],
    ['a seed of 65 bits', { prompt: 'a', seed: 2n ** 64n }, 'CONES_OPTION_INVALID', /seed/],
    ['guidance that is no number', { prompt: 'a', guidance: NaN }, 'CONES_OPTION_INVALID', /guidance/],
    ['an unknown sampler', { prompt: 'a', sampler: 'magic' }, 'CONES_OPTION_INVALID', /sampler/],
    ['eta without DDIM', { prompt: 'a', eta: 0.5 }, 'CONES_OPTION_INVALID', /eta/],
    ['a width that the autoencoder cannot make', { prompt: 'a', width: 60 }, 'CONES_OPTION_INVALID', /width is 60/],
    ['millions of pictures', { prompt: new Array(4096).fill('a'), count: 4096 }, 'CONES_OPTION_INVALID', /too many/],
    ['a huge picture', { prompt: 'a', width: 80_000 }, 'CONES_OPTION_INVALID', /width/],
    ['concepts that are none', { prompt: 'a', concepts: [{}] }, 'CONES_OPTION_INVALID', /concepts.*must be a list of concepts/],
    ['lists of concepts for other prompts', { prompt: 'a', concepts: [[], []] }, 'CONES_OPTION_INVALID', /one list per prompt/],
    ['a signal that is none', { prompt: 'a', signal: {} }, 'CONES_OPTION_INVALID', /signal/],
    ['half a signal', { prompt: 'a', signal: { aborted: false, addEventListener: () => undefined } }, 'CONES_OPTION_INVALID', /signal/],
    ['a callback that is none', { prompt: 'a', onProgress: 5 }, 'CONES_OPTION_INVALID', /onProgress/],
  ])('%s', (_, options, code, message) => expectCode(engine.generate(options as never), code, message));

  test('a picture beyond the memory limit', async () => {
    await using tight = await load({ memoryLimit: 2 ** 30 });
    await expectCode(tight.generate({ prompt: 'a', count: 1024, batchSize: 1024, width: 8192, height: 8192 }), 'CONES_OUT_OF_MEMORY', /8192 × 8192.*memoryLimit/);
  });

  test.each([undefined, null, 5, 'a cat', []])('%p instead of options', (options) => expectCode(engine.generate(options as never), 'CONES_OPTION_INVALID'));

  test('a prompt of more than 77 tokens is cut off with a warning', async () => {
    const kept = Array.from({ length: 75 }, (_, i) => 'abc'[i % 3]).join(' ');
    const whole = await engine.generate({ prompt: kept, steps: 1, seed: 1 });
    const cut = await engine.generate({ prompt: `${kept} x y`, steps: 1, seed: 1 });
    expect(whole.warnings).toEqual([]);
    expect(cut.warnings).toEqual([{ code: 'prompt-truncated', message: expect.stringMatching(/75 tokens.*"x y"/) as string }]);
    const long = await engine.generate({ prompt: `${kept} ${'x '.repeat(1e5)}`, steps: 1, seed: 1 });
    expect(long.warnings).toEqual([{ code: 'prompt-truncated', message: expect.stringMatching(/^.{100,400}$/) as string }]);
    expect([...cut.images[0]!.data]).toEqual([...whole.images[0]!.data]);
  });

  test('an identifier that no concept has is told', async () => {
    const { warnings } = await engine.generate({ prompt: 'a V7* cat', steps: 1 });
    expect(warnings).toEqual([expect.objectContaining({ code: 'unknown-identifier' })]);
  });

  test('a concept of another model', async () => {
    const other = conceptOf(engine, 0).with({ fingerprint: 'sha256:other' });
    await expectCode(engine.generate({ prompt: 'a V1* cat', concepts: [other] }), 'CONES_CONCEPT_MISMATCH', /sha256:other/);
  });

  test('a concept of weights that the model lacks', async () => {
    const other = conceptOf(engine, 0).with({ tensors: new Map([['none.to_k.weight', { shape: [4, 4], indices: Uint32Array.of(1) }]]) });
    await expectCode(engine.generate({ prompt: 'a V1* cat', concepts: [other] }), 'CONES_CONCEPT_MISMATCH', /none\.to_k/);
  });

  test('a concept with an index beyond its weight', async () => {
    const [name] = [engine.kvTensors[0]!.name];
    const other = conceptOf(engine, 0).with({ tensors: new Map([[name, { shape: [4096, 4096], indices: Uint32Array.of(4096 * 4095) }]]) });
    await expectCode(engine.generate({ prompt: 'a V1* cat', concepts: [other] }), 'CONES_CONCEPT_MISMATCH', name);
  });

  test('a concept with an embedding, or for a word, that this model does not have', async () => {
    const embedded = (token: string, length: number) =>
      conceptOf(engine, 0).with({ subjects: [{ identifier: 'V1*', token, category: 'cat', embedding: { dtype: 'float32', values: new Float32Array(length) } }] });
    for (const length of [5, 31, 33, 64]) await expectCode(engine.generate({ prompt: 'a V1* cat', concepts: [embedded('q', length)] }), 'CONES_CONCEPT_MISMATCH', /embedding.* 32/);
    await expectCode(engine.generate({ prompt: 'a V1* cat', concepts: [embedded('qz', 32)] }), 'CONES_CONCEPT_MISMATCH', /qz/);
  });

  test('a concept of another model in encodePrompt', async () => {
    const other = conceptOf(engine, 0).with({ fingerprint: `sha256:${'0'.repeat(64)}` });
    await expectCode(engine.encodePrompt('a V1* cat', { concepts: [other] }), 'CONES_CONCEPT_MISMATCH');
  });

  test('more subjects than a prompt is searched for', async () => {
    const many = Array.from({ length: 257 }, (_, i) => conceptOf(engine, i, 9999, `<s${i}>`));
    await expectCode(engine.encodePrompt('a cat', { concepts: many }), 'CONES_OPTION_INVALID', /257 subjects/);
  });

  test('two concepts with one identifier for different subjects', async () => {
    const [a, b] = [conceptOf(engine, 0), conceptOf(engine, 1, 7, 'V1*', 'z')];
    await expectCode(engine.generate({ prompt: 'a V1* cat', concepts: [a, b] }), 'CONES_OPTION_INVALID', /identifier "?V1\*/);
  });
});

describe('concept files', () => {
  test('that are missing or damaged', async () => {
    const file = path.join(folder, 'cat.cones');
    await expectCode(Concept.load(file), 'CONES_IO');
    const bytes = conceptOf(engine, 0).toBuffer();
    for (const damage of [bytes.subarray(0, bytes.length - 1), Buffer.from('no concept'), Buffer.alloc(0), Buffer.concat([bytes, bytes])]) {
      writeFileSync(file, damage);
      await expectCode(Concept.load(file), 'CONES_CONCEPT_CORRUPT', 'cat.cones');
    }
  });
});

describe('findConcept()', () => {
  const cases: [string, object, ErrorCode, RegExp][] = [
    ['no pictures', { images: [] }, 'CONES_IMAGES_MISSING', /No pictures/],
    ['pictures that are no list', { images: 'cat.png' }, 'CONES_OPTION_INVALID', /images/],
    ['a picture file that does not exist', { images: ['/none/cat.png'] }, 'CONES_IO', /cat\.png/],
    ['bytes that are no picture', { images: [Buffer.from('no picture')] }, 'CONES_IMAGE_INVALID', /picture/],
    ['no category', { category: ' ' }, 'CONES_OPTION_INVALID', /category/],
    ['a category that a concept file cannot hold', { category: 'ca\nt' }, 'CONES_OPTION_INVALID', /category.*control/],
    ['half a surrogate', { category: 'cat \ud800' }, 'CONES_OPTION_INVALID', /category/],
    ['an identifier that turns text round', { identifier: 'V1\u202e' }, 'CONES_OPTION_INVALID', /identifier/],
    ['a token without end', { token: 'q'.repeat(1e6) }, 'CONES_OPTION_INVALID', /token/],
    ['an identifier of two words', { identifier: 'V1* V2*' }, 'CONES_OPTION_INVALID', /identifier/],
    ['a token that is several', { token: 'qz' }, 'CONES_OPTION_INVALID', /single token/],
    ['captions for other pictures', { captions: ['a V1* cat'] }, 'CONES_OPTION_INVALID', /one each/],
    ['a blank caption', { captions: ['a V1* cat', ' ', 'a V1* cat'] }, 'CONES_OPTION_INVALID', /captions.*blank/],
    ['captions for prior pictures that the model draws', { priorCaptions: ['a', 'b'] }, 'CONES_OPTION_INVALID', /priorCaptions/],
    ['an unknown option', { learningrate: 1 }, 'CONES_OPTION_INVALID', /learningrate/],
    ['an unknown option of the report', { report: { row: 1 } }, 'CONES_OPTION_INVALID', /"row"/],
    ['an unknown algorithm', { algorithm: '2' }, 'CONES_OPTION_INVALID', /algorithm/],
    ['no learning rate', { learningRate: 0 }, 'CONES_OPTION_INVALID', /learningRate/],
    ['an infinite learning rate', { learningRate: Infinity }, 'CONES_OPTION_INVALID', /learningRate/],
    ['no steps', { steps: 0 }, 'CONES_OPTION_INVALID', /steps/],
    ['a batch without the subject', { batchSize: 0 }, 'CONES_OPTION_INVALID', /batchSize/],
    ['a density of nothing', { density: 0 }, 'CONES_OPTION_INVALID', /density/],
    ['a density of more than all', { density: 1.1 }, 'CONES_OPTION_INVALID', /density/],
    ['straight-through with Algorithm 1', { straightThrough: true, algorithm: '1' }, 'CONES_OPTION_INVALID', /straightThrough.*algorithm/],
    ['straight-through by score', { straightThrough: true, ranking: 'score' }, 'CONES_OPTION_INVALID', /straightThrough.*ranking/],
    ['straight-through to a threshold', { straightThrough: true, threshold: 0.1 }, 'CONES_OPTION_INVALID', /straightThrough.*threshold/],
    ['density and threshold', { density: 0.1, threshold: 0.1 }, 'CONES_OPTION_INVALID', /density.*threshold/],
    ['timesteps in the wrong order', { timesteps: [500, 100] }, 'CONES_OPTION_INVALID', /timesteps/],
    ['timesteps that the model has not', { timesteps: [0, 1001] }, 'CONES_OPTION_INVALID', /timesteps/],
    ['a rate of an embedding that is not learned', { learnEmbedding: false, embeddingRate: 0.1 }, 'CONES_OPTION_INVALID', /embeddingRate.*learnEmbedding/],
    ['no layers', { layers: { keys: false, values: false } }, 'CONES_OPTION_INVALID', /layers/],
    ['a CLIP pair that is not there', { report: { clip: 'no/such/pair' } }, 'CONES_MODEL_NOT_FOUND', /no\/such\/pair/],
    ['a CLIP pair that is none', { report: { clip: MODEL } }, 'CONES_MODEL_NOT_FOUND', /config\.json/],
    ['a state that is none', { resume: Buffer.from('none') }, 'CONES_STATE_INVALID', /saved search/],
  ];
  test.each(cases)('%s', async (_, options, code, message) => {
    await expectCode(engine.findConcept({ ...(await searchOptions()), ...options } as never), code, message);
  });

  test('concepts that could not be drawn together with this one', async () => {
    const cat = conceptOf(engine, 0);
    await expectCode(engine.findConcept(await searchOptions({ identifier: 'v1*', others: [cat] })), 'CONES_OPTION_INVALID', /identifier.*others/);
    await expectCode(engine.findConcept(await searchOptions({ identifier: 'V2*', others: [cat.with({ fingerprint: 'sha256:other' })] })), 'CONES_CONCEPT_MISMATCH', /sha256:other/);
  });

  test('prior pictures together with a number of them', async () => {
    await expectCode(engine.findConcept(await searchOptions({ priorImages: [await picture(9)] })), 'CONES_OPTION_INVALID', /priorCount.*priorImages/);
  });

  test('a search that was disposed', async () => {
    const search = await engine.startSearch(await searchOptions());
    search.dispose();
    await expectCode(search.run(), 'CONES_DISPOSED');
    await expectCode(Promise.resolve().then(() => search.step), 'CONES_DISPOSED');
  });

  test('a state that is given away while it is read', async () => {
    const options = await searchOptions({ steps: 1 });
    const search = await engine.startSearch(options);
    const state = Uint8Array.from(await search.save());
    search.dispose();
    const resumed = engine.startSearch({ ...options, resume: state, onProgress: ({ phase, step, steps }) => {
      if (phase === 'prior' && step === steps) structuredClone(state.buffer, { transfer: [state.buffer] });
    } });
    await expectCode(resumed, 'CONES_STATE_INVALID');
  });

  test('a truncated picture', async () => {
    const [whole] = await pictures(1);
    await expectCode(engine.findConcept(await searchOptions({ images: [whole!.subarray(0, whole!.length / 2)] })), 'CONES_IMAGE_INVALID');
  });

  test('too little memory: refused before the first step', async () => {
    const { peak } = engine.planSearch({ images: 3, batchSize: 256, priorCount: 2 });
    await using tight = await load({ memoryLimit: Math.floor(peak / 2) });
    const phases = new Set<string>();
    const options = await searchOptions({ batchSize: 256, onProgress: ({ phase }) => void phases.add(phase) });
    await expectCode(tight.findConcept({ ...options, checkpointing: false }), 'CONES_OUT_OF_MEMORY', /memoryLimit/);
    expect(phases.has('search')).toBe(false);
  });
});

describe('low-level calls with wrong types', () => {
  const latents = { data: new Float32Array(256), shape: [1, 4, 8, 8] };
  const embeddings = { data: new Float32Array(77 * 32), shape: [1, 77, 32] };
  const options = { target: latents.data };
  const wrong = [undefined, null, 5, 'x', [], {}, { data: [], shape: [] }, { data: new Float32Array(3), shape: [1, 4, 8, 8] }, { data: new Float64Array(256), shape: [1, 4, 8, 8] },
    { data: new Float32Array(256), shape: [1, 4, 8, -8] }, { data: new Float32Array(256), shape: [1, 4, 8, 8.5] }, { data: new Float32Array(256), shape: [4, 1, 8, 8] },
    { data: new Float32Array(256).fill(NaN, 255), shape: [1, 4, 8, 8] }, { data: new Float32Array(256).fill(-Infinity, 3, 4), shape: [1, 4, 8, 8] },
    { data: new Float32Array(256), shape: [2 ** 40, 4, 8, 8] }, { data: new Float32Array(0), shape: [0, 4, 8, 8] }];
  const call = (name: string, ...values: unknown[]) => (engine as unknown as Record<string, (...list: unknown[]) => Promise<unknown>>)[name]!(...values);

  test.each(wrong)('latents %#', async (bad) => {
    await expectCode(call('decode', bad), 'CONES_OPTION_INVALID');
    await expectCode(call('denoise', bad, [1], embeddings), 'CONES_OPTION_INVALID');
    await expectCode(call('denoise', latents, [1], bad), 'CONES_OPTION_INVALID');
    await expectCode(call('conceptGradient', bad, [1], embeddings, options), 'CONES_OPTION_INVALID');
  });

  test.each([undefined, 5, [], [NaN], [-1], ['1'], [1, 2]])('timesteps %p', (bad) => expectCode(call('denoise', latents, bad, embeddings), 'CONES_OPTION_INVALID'));

  test.each<[object]>([[{}], [{ target: [] }], [{ target: new Float32Array(1) }], [{ ...options, weights: [NaN] }], [{ ...options, weights: [1, 2] }],
    [{ ...options, tensors: ['none'] }], [{ ...options, tensors: ['conv_in.weight', 'conv_in.weight'] }], [{ target: latents.data.map(() => NaN) }], [{ ...options, tensor: [] }], [{ ...options, concepts: 5 }], [{ ...options, concepts: [[], []] }]])(
    'options of conceptGradient %#', (bad) => expectCode(call('conceptGradient', latents, [1], embeddings, bad), 'CONES_OPTION_INVALID'));

  test.each([undefined, null, 5, '', {}, { data: latents.data, shape: [1, 8, 8, 4] }, { data: latents.data, shape: [1, 9, 9, 3] }])('images %p', (bad) =>
    expectCode(call('encodeImage', bad), 'CONES_OPTION_INVALID'));
  test('half a size', async () => expectCode(call('encodeImage', await pictures(1), { width: 64 }), 'CONES_OPTION_INVALID', /both/));
  test.each([undefined, null, 5, [], [5], {}])('prompt %p', (bad) => expectCode(call('encodePrompt', bad), 'CONES_OPTION_INVALID'));

  afterAll(async () => {
    const { images } = await engine.generate({ prompt: 'a cat', steps: 1 });
    expect(images).toHaveLength(1);
  });
});
