// What prompts and negative prompts mean: guidance, identifiers, words of textual inversion, and what is said where they are not used.
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type Concept, Engine, type GenerateOptions } from '../../lib';
import { Golden } from '../goldens/golden';
import { conceptOf, load, MODEL, searchOptions } from '../runtime/model';

let folder: string;
let engine: Engine;
let cat: Concept;
let dog: Concept;
beforeAll(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'cones-prompts-'));
  engine = await load();
  cat = conceptOf(engine, 0);
  dog = conceptOf(engine, 1, 7, 'V2*', 'z');
});
afterAll(async () => {
  await engine.dispose();
  rmSync(folder, { recursive: true });
});

const draw = (options: Partial<GenerateOptions>) => engine.generate({ prompt: 'a cat', steps: 2, seed: 5, ...options });
const bytes = async (options: Partial<GenerateOptions>) => (await draw(options)).images.map(({ data }) => Buffer.from(data).toString('base64'));
const codes = async (options: Partial<GenerateOptions>) => (await draw(options)).warnings.map(({ code }) => code);

describe('guidance', () => {
  test.each([0, 0.5, 1])('%d is none, as in diffusers: the prompt alone is drawn', async (guidance) => {
    const [plain] = await bytes({ guidance: 1 });
    expect(await bytes({ guidance })).toEqual([plain]);
    expect(await bytes({ guidance, negativePrompt: 'a dog' })).toEqual([plain]);
    expect(await bytes({ guidance, prompt: 'a dog' })).not.toEqual([plain]);
    expect(engine.planGenerate({ guidance })).toEqual(engine.planGenerate({ guidance: 1 }));
  });

  test('above 1 it is on', async () => {
    expect(await bytes({ guidance: 1.25 })).not.toEqual(await bytes({ guidance: 1 }));
    expect(engine.planGenerate({ guidance: 1.25 }).peak).toBeGreaterThan(engine.planGenerate({ guidance: 1 }).peak);
  });

  test('of prior pictures means the same', async () => {
    const latents = async (priorGuidance: number) => {
      const cacheDir = path.join(folder, `prior-${priorGuidance}`);
      (await engine.startSearch(await searchOptions({ cacheDir, priorGuidance }))).dispose();
      return readdirSync(cacheDir).map((name) => readFileSync(path.join(cacheDir, name)).toString('hex'));
    };
    const plain = await latents(1);
    expect(await latents(0)).toEqual(plain);
    expect(await latents(0.5)).toEqual(plain);
    expect(await latents(3)).not.toEqual(plain);
  });
});

describe('negative prompts', () => {
  test('name the subjects of the concepts as prompts do', async () => {
    const concepts = [cat];
    const [avoided] = await bytes({ concepts, negativePrompt: 'a V1* cat' });
    expect(await bytes({ concepts, negativePrompt: 'a q cat' })).toEqual([avoided]); // its rare word
    expect(await bytes({ concepts, negativePrompt: 'a cat' })).not.toEqual([avoided]);
  });

  test('with the embedding that was learned for them', async () => {
    const values = Float32Array.from({ length: 32 }, (_, i) => Math.sin(i));
    const learned = cat.with({ subjects: [{ ...cat.subjects[0]!, embedding: { dtype: 'float32', values } }] });
    const negativePrompt = 'a V1* cat';
    expect(await bytes({ concepts: [learned], negativePrompt })).not.toEqual(await bytes({ concepts: [cat], negativePrompt }));
  });

  test('one for each prompt', async () => {
    const prompt = ['a cat', 'a dog', 'a cat'];
    const negativePrompt = ['a V1* cat', '', 'the sea'];
    const concepts = [[cat], [], [dog]];
    const together = await bytes({ prompt, negativePrompt, concepts, count: 2 });
    const alone = await Promise.all(prompt.map((text, i) => bytes({ prompt: text, negativePrompt: negativePrompt[i]!, concepts: concepts[i]!, count: 2 })));
    expect(together).toEqual(alone.flat());
    const { images } = await draw({ prompt, negativePrompt });
    expect(images.map(({ metadata }) => metadata['negativePrompt'])).toEqual(negativePrompt);
  });

  test.each([[['a', 'b']], [[]]])('%j for another number of prompts is refused', async (negativePrompt) => {
    await expect(draw({ negativePrompt })).rejects.toMatchObject({ code: 'CONES_OPTION_INVALID', message: expect.stringContaining('negativePrompt') as string });
  });

  test('warn as prompts do', async () => {
    expect(await codes({ negativePrompt: 'a V9* cat' })).toEqual(['unknown-identifier']);
    const { warnings } = await draw({ negativePrompt: 'a b '.repeat(60) });
    expect(warnings).toEqual([{ code: 'prompt-truncated', message: expect.stringContaining('The negative prompt is longer') as string }]);
  });

  test('without guidance are told to be unused, once', async () => {
    expect(await codes({ guidance: 1, negativePrompt: 'ugly', count: 3, batchSize: 1 })).toEqual(['negative-prompt-unused']);
    expect(await codes({ guidance: 0, prompt: ['a', 'b'], negativePrompt: ['', 'ugly'] })).toEqual(['negative-prompt-unused']);
    expect(await codes({ guidance: 1, negativePrompt: ' ' })).toEqual([]);
    expect(await codes({ guidance: 1.5, negativePrompt: 'ugly' })).toEqual([]);
  });
});

describe('concepts of different users', () => {
  const golden = new Golden(path.join(MODEL, '../two-subjects'));
  const { prompts, token } = JSON.parse(readFileSync(path.join(MODEL, '../two-subjects/golden.json'), 'utf8')) as { prompts: string[]; token: string };
  const values = Array.from({ length: 2 }, (_, i) => Float32Array.from(golden.data('embeddings').slice(32 * i, 32 * (i + 1))));
  /** Both were found as V1* with one rare word. */
  const learned = (values: Float32Array, of = cat) => of.with({ subjects: [{ ...of.subjects[0]!, identifier: 'V1*', token, embedding: { dtype: 'float32', values } }] });

  test("are drawn together, each with its own embedding where the prompt names it: transformers' states", async () => {
    const concepts = [learned(values[0]!), learned(values[1]!, dog).withIdentifier('V2*')];
    const { data, warnings } = await engine.encodePrompt(prompts, { concepts });
    expect(golden.judge('last_hidden_state', data)).toMatchObject({ ok: true });
    expect(warnings).toEqual([]);
    const swapped = await engine.encodePrompt(prompts, { concepts: [concepts[0]!.withIdentifier('V2*'), concepts[1]!.withIdentifier('V1*')] });
    expect(golden.judge('last_hidden_state', swapped.data)).toMatchObject({ ok: false });
    expect((await engine.generate({ prompt: prompts[0]!, concepts, steps: 1, seed: 1 })).warnings).toEqual([]);
  });

  test('one that has learned an embedding goes with one that has the rare word alone', async () => {
    const rare = cat.with({ subjects: [{ ...cat.subjects[0]!, token }] });
    const both = await engine.encodePrompt('V1* V2*', { concepts: [rare, learned(values[1]!).withIdentifier('V2*')] });
    const one = await engine.encodePrompt(`${token} V2*`, { concepts: [learned(values[1]!).withIdentifier('V2*')] });
    expect([...both.data]).toEqual([...one.data]);
    expect(both.warnings).toEqual([]);
  });

  test('a place beyond the length of a text names nobody', async () => {
    const filled = 'a '.repeat(75);
    const [with_, without] = await Promise.all([`${filled}V1*`, filled].map((prompt) => engine.encodePrompt(prompt, { concepts: [learned(values[0]!)] })));
    expect([...with_!.data]).toEqual([...without!.data]);
    expect(with_!.warnings).toEqual([expect.objectContaining({ code: 'prompt-truncated' })]);
  });
});

describe('a concept that no prompt names', () => {
  const one = (message: unknown) => [{ code: 'concept-unnamed', message }];

  test('is told, with the way to name it', async () => {
    expect((await draw({ concepts: [cat], count: 2, batchSize: 1 })).warnings).toEqual(one(expect.stringContaining('"V1* cat"')));
    expect((await draw({ concepts: [cat], prompt: 'a v1 cat' })).warnings).toEqual(one(expect.stringContaining('"v1" alone is plain text: write "V1*"')));
    expect((await draw({ concepts: [cat, dog], prompt: 'a V1* cat' })).warnings).toEqual(one(expect.stringMatching(/No prompt names V2\*,/)));
  });

  test('is not told where one prompt of several names it, or the negative one, or one subject of several', async () => {
    expect(await codes({ concepts: [cat], prompt: ['a cat', 'a V1* cat'] })).toEqual([]);
    expect(await codes({ concepts: [cat], negativePrompt: 'a V1* cat' })).toEqual([]);
    expect(await codes({ concepts: [cat.with({ subjects: [...cat.subjects, ...dog.subjects] })], prompt: 'a V2* cat' })).toEqual([]);
  });

  test('is told where its own prompts do not, though others name it', async () => {
    expect(await codes({ prompt: ['a V1* cat', 'a V2* cat'], concepts: [[cat], [cat]] })).toEqual(['unknown-identifier']);
    expect(await codes({ prompt: ['a V1* cat', 'a dog'], concepts: [[cat], [dog]] })).toEqual(['concept-unnamed']);
  });

  test('by a negative prompt that is not used counts as not named', async () => {
    expect(await codes({ concepts: [cat], negativePrompt: 'a V1* cat', guidance: 1 })).toEqual(['negative-prompt-unused', 'concept-unnamed']);
  });
});

test('the syntax of weights is told to be plain text, in prompts and negative ones', async () => {
  expect(await codes({ prompt: 'a ((cat:1.3))' })).toEqual(['weighting-syntax']);
  expect(await codes({ negativePrompt: '<lora:ugly:1>' })).toEqual(['weighting-syntax']);
});

test('an identifier in either Unicode form is the same', async () => {
  const concept = cat.with({ subjects: [{ identifier: 'béret*'.normalize('NFD'), token: 'q', category: 'cat' }] });
  const wanted = await engine.encodePrompt('a q cat');
  for (const form of ['NFC', 'NFD']) {
    const { data, warnings } = await engine.encodePrompt('a béret* cat'.normalize(form), { concepts: [concept] });
    expect({ data: [...data], warnings }).toEqual({ data: [...wanted.data], warnings: [] });
  }
});

describe('words that textual inversion added', () => {
  let own: Engine;
  beforeAll(async () => {
    const model = path.join(folder, 'model');
    cpSync(MODEL, model, { recursive: true });
    addEmbeddings(path.join(model, 'text_encoder'), 2);
    const first = 1 + Math.max(...Object.values(JSON.parse(readFileSync(path.join(model, 'tokenizer/vocab.json'), 'utf8')) as Record<string, number>));
    writeFileSync(path.join(model, 'tokenizer/added_tokens.json'), JSON.stringify({ '<toy>': first, '<toy>_1': first + 1 }));
    own = await Engine.load(model, { threads: 1 });
  });
  afterAll(() => own.dispose());

  /** Rows for new tokens at the end of the text encoder's embedding. */
  function addEmbeddings(encoder: string, rows: number): void {
    const [configFile, weightsFile] = [path.join(encoder, 'config.json'), path.join(encoder, 'model.safetensors')];
    const config = JSON.parse(readFileSync(configFile, 'utf8')) as { vocab_size: number };
    writeFileSync(configFile, JSON.stringify({ ...config, vocab_size: config.vocab_size + rows }));
    const file = readFileSync(weightsFile);
    const start = 8 + Number(file.readBigUInt64LE());
    type Entry = { shape: number[]; data_offsets: [number, number] };
    const header = JSON.parse(file.toString('utf8', 8, start)) as Record<string, Entry>;
    delete header['__metadata__'];
    const embedding = Object.entries(header).find(([name]) => name.endsWith('token_embedding.weight'))![1];
    const [begin, end] = embedding.data_offsets;
    const added = (rows * (end - begin)) / embedding.shape[0]!;
    embedding.shape[0]! += rows;
    for (const entry of Object.values(header)) entry.data_offsets = entry.data_offsets.map((offset) => (offset >= end ? offset + added : offset)) as [number, number];
    embedding.data_offsets = [begin, end + added];
    const json = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(json.length));
    // Of any values: the first rows once more.
    writeFileSync(weightsFile, Buffer.concat([length, json, file.subarray(start, start + end), file.subarray(start + begin, start + begin + added), file.subarray(start + end)]));
  }

  test('stand for all of their vectors, and are no unknown identifiers', async () => {
    const short = await own.encodePrompt('a <toy> on');
    const long = await own.encodePrompt('a <toy> <toy>_1 on');
    expect([...short.data]).toEqual([...long.data]);
    expect([short.warnings, long.warnings]).toEqual([[], []]);
    expect((await own.encodePrompt('a <boy> on')).warnings).toEqual([expect.objectContaining({ code: 'unknown-identifier' })]);
    expect((await own.generate({ prompt: 'a', negativePrompt: '<toy>', steps: 1 })).warnings).toEqual([]);
  });
});
