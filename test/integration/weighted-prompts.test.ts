// promptSyntax: 'weighted', from texts to pictures.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { type Concept, type Engine, type GenerateOptions } from '../../lib';
import { Golden } from '../goldens/golden';
import { conceptOf, load, MODEL } from '../runtime/model';

let engine: Engine;
let cat: Concept;
beforeAll(async () => {
  engine = await load();
  cat = conceptOf(engine, 0);
});
afterAll(() => engine.dispose());

const promptSyntax = 'weighted';
const encode = (prompt: string | string[], concepts: Concept[] = []) => engine.encodePrompt(prompt, { concepts, promptSyntax });
const draw = (options: Partial<GenerateOptions>) => engine.generate({ prompt: 'a cat', steps: 2, seed: 5, promptSyntax, ...options });
const bytes = async (options: Partial<GenerateOptions>) => (await draw(options)).images.map(({ data }) => Buffer.from(data).toString('base64'));
const learned = () => {
  const values = Float32Array.from({ length: 32 }, (_, i) => Math.sin(i));
  return cat.with({ subjects: [{ ...cat.subjects[0]!, embedding: { dtype: 'float32', values } }] });
};

describe("text states: transformers', weighed", () => {
  const golden = new Golden(path.join(MODEL, '../weighted-prompts'));
  const { prompts } = JSON.parse(readFileSync(path.join(MODEL, '../weighted-prompts/golden.json'), 'utf8')) as { prompts: Record<string, string> };

  test.each(Object.entries(prompts))('%s', async (name, prompt) => {
    const { data, shape, warnings } = await encode(prompt);
    expect({ shape, warnings }).toEqual({ shape: golden.shape(name), warnings: [] });
    expect(golden.judge(name, data)).toMatchObject({ ok: true });
  });

  test('a text without weights that fits has the states of plain text, to the last bit', async () => {
    for (const prompt of ['a cat, red', '', 'b '.repeat(75)]) {
      expect((await encode(prompt)).data).toEqual((await engine.encodePrompt(prompt)).data);
    }
    expect((await encode('(a cat:1.0)')).data).toEqual((await encode('a cat')).data);
  });

  test('several texts have as many chunks as the longest; those of others are empty', async () => {
    const [long, short] = ['b '.repeat(76), 'a cat'];
    const { data, shape } = await encode([short, long]);
    expect(shape).toEqual([2, 154, 32]);
    const size = 77 * 32;
    const parts = await Promise.all([short, '', 'b '.repeat(75), 'b'].map(async (text) => [...(await encode(text)).data]));
    expect(Array.from({ length: 4 }, (_, i) => [...data.subarray(i * size, (i + 1) * size)])).toEqual(parts);
  });
});

describe('subjects', () => {
  test('in weighted text are their rare words, or their learned embeddings', async () => {
    expect((await encode('a (V1* cat:1.2)', [cat])).data).toEqual((await encode('a (q cat:1.2)')).data);
    const { data, warnings } = await encode('a (V1* cat:1.2)', [learned()]);
    expect(warnings).toEqual([]);
    expect(data).not.toEqual((await encode('a (q cat:1.2)')).data);
    expect(data).not.toEqual((await encode('a V1* cat', [learned()])).data);
  });

  test('in the second chunk, too', async () => {
    const concepts = [learned()];
    const { data } = await encode(`${'b '.repeat(75)}V1* cat`, concepts);
    expect([...data.subarray(77 * 32)]).toEqual([...(await encode('V1* cat', concepts)).data]);
  });

  test('a rare word of several tokens is not cut in two', async () => {
    const long = cat.with({ subjects: [{ ...cat.subjects[0]!, token: 'qz' }] });
    const { data } = await encode(`${'b '.repeat(74)}V1* c`, [long]);
    expect([...data.subarray(77 * 32)]).toEqual([...(await encode('qz c')).data]);
  });
});

describe('pictures', () => {
  test('weights change them, brackets of plain text are told', async () => {
    const pictures = await Promise.all(['a cat', 'a (cat)', '(a) cat'].map((prompt) => bytes({ prompt })));
    expect(new Set(pictures.flat()).size).toBe(3);
    expect((await draw({ prompt: '((cat))' })).warnings).toEqual([]);
    expect((await draw({ prompt: '((cat))', promptSyntax: 'plain' })).warnings.map(({ code }) => code)).toEqual(['weighting-syntax']);
  });

  test('of one call are those of several, whatever their lengths', async () => {
    const prompt = ['a cat', 'b '.repeat(100), 'a (dog:1.3)', 'a BREAK b BREAK c'];
    const negativePrompt = ['', '(ugly)', 'c '.repeat(80), ''];
    const together = await bytes({ prompt, negativePrompt, count: 2 });
    const alone = await Promise.all(prompt.map((text, i) => bytes({ prompt: text, negativePrompt: negativePrompt[i]!, count: 2 })));
    expect(together).toEqual(alone.flat());
  });

  test('the shorter of prompt and negative prompt is followed by empty chunks', async () => {
    const [long, short] = ['b '.repeat(100), 'a cat'];
    const states = async (...texts: string[]) => (await encode(texts)).data;
    const row = 2 * 77 * 32;
    const both = await states(long, short);
    const rows = [both.slice(0, row), both.slice(row)].map((data) => ({ data, shape: [1, 154, 32] as const }));
    const given = await engine.generate({ embeddings: rows[0]!, negativeEmbeddings: rows[1]!, steps: 2, seed: 5 });
    expect(await bytes({ prompt: long, negativePrompt: short })).toEqual(given.images.map(({ data }) => Buffer.from(data).toString('base64')));
    // Without guidance there is no negative prompt, and nothing to be as long as.
    expect(await bytes({ prompt: short, negativePrompt: long, guidance: 1 })).toEqual(await bytes({ prompt: short, guidance: 1 }));
  });

  test('the memory of long texts is planned', () => {
    const [short, long] = [{}, { tokens: 16 * 77 }].map((options) => engine.planGenerate({ count: 1, width: 128, height: 128, ...options }).peak);
    expect(engine.planGenerate({ count: 1, width: 128, height: 128, tokens: 77 }).peak).toBe(short);
    expect(long).toBeGreaterThan(short!);
  });

  test('what is cut off is told', async () => {
    const { warnings } = await encode(`${'b '.repeat(16 * 75)}c d`);
    expect(warnings).toEqual([{ code: 'prompt-truncated', message: expect.stringMatching(/16 chunks of 75 tokens.*"c d"/) as string }]);
  });

  test('adapters that are not there are told, and are no text', async () => {
    const prompt = 'a <lora:ink:0.8>cat';
    expect((await draw({ prompt })).warnings).toEqual([{ code: 'adapter-unused', message: expect.stringContaining('<lora:ink>') as string }]);
    expect(await bytes({ prompt })).toEqual(await bytes({ prompt: 'a cat' }));
    expect(await bytes({ prompt: '<lora:ink:1>' })).toEqual(await bytes({ prompt: '<lora:mud:1>' }));
  });

  test.each(['a cat AND a dog', 'a [cat:dog:0.5]', 'a [cat|dog]', '(cat:1000)', '('.repeat(100_000)])('prompt %# is refused', async (prompt) => {
    await expect(draw({ prompt })).rejects.toMatchObject({ code: 'CONES_OPTION_INVALID' });
  });

  test('an empty prompt is none', async () => {
    await expect(draw({ prompt: ' ' })).rejects.toMatchObject({ code: 'CONES_PROMPT_EMPTY' });
  });

  test('a negative prompt has no AND and no adapters', async () => {
    expect((await draw({ negativePrompt: 'a cat AND <lora:a:1>' })).warnings).toEqual([]);
  });
});
