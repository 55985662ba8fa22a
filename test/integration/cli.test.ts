// The commands on a whole, tiny model with random weights: find → generate → inspect, interruption, and defaults.
import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import sharp from 'sharp';
import { Concept, type ConceptInfo, type GeneratedImage } from '../../lib';
import { longestMetadata } from '../../lib/cli/trial';
import { readMetadata } from '../../lib/images/images';
import { runCli } from '../cli-run';

const repository = path.join(__dirname, '../..');
const MODEL = ['--model', path.join(repository, 'test/goldens/models/pipeline'), '--threads', '1'];
const PICTURES = [0, 1, 2].map((i) => path.join(repository, `examples/subjects/black-cat/${i}.png`));
/** A search of a few steps. The model knows no rare tokens: it has letters only. */
const PAIR = path.join(__dirname, '../../models/mini-clip');
const QUICK = ['--category', 'cat', '--batch-size', '1', '--prior-count', '2', '--report-rows', '2', '--density', '0.05', ...MODEL];

let folder: string;
let cat: string;
let dog: string;
const at = (name: string) => path.join(folder, name);

/** Without what is true of nearly every search here: of few steps, on a model of random weights, and perhaps on an old processor. */
const unexpected = (stderr: string) => stderr.replace(/^warning (?:search-worse|single-picture|slow-instruction-set): .*\n/gm, '');

async function ok(args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await runCli(args);
  expect({ code, stderr: unexpected(stderr) }).toEqual({ code: 0, stderr: '' });
  return stdout;
}

/** The JSON on stdout, which must be all that is there. */
async function json<T>(args: readonly string[]): Promise<T> {
  return JSON.parse(await ok([...args, '--json'])) as T;
}

beforeAll(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'cones-cli-'));
  cat = at('cat.cones');
  dog = at('dog.cones');
  await ok(['find', ...PICTURES, '--token', 'q', '-o', cat, '--steps', '5', '--report-pictures', '1', '--report-steps', '2', '--clip', PAIR, '--no-cache', ...QUICK]);
  await ok(['find', PICTURES[0]!, '--identifier', 'V2*', '--token', 'z', '-o', dog, '--steps', '5', '--report-pictures', '0', '--no-cache', ...QUICK]);
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('find', () => {
  test('--json tells file, seed, cost and the whole concept, as the file has it', async () => {
    const result = await json<{ file: string; seed: string; milliseconds: number; peakMemory: number; concept: ConceptInfo }>([
      'find', ...PICTURES, '--token', 'q', '-o', at('again.cones'), '--steps', '2', '--seed', '7', '--report-pictures', '0', '--no-cache', ...QUICK,
    ]);
    expect(result).toMatchObject({ file: at('again.cones'), seed: '7', milliseconds: expect.any(Number), peakMemory: expect.any(Number) });
    expect(result.concept).toEqual(JSON.parse(JSON.stringify((await Concept.load(at('again.cones'))).info())));
    expect(result.concept).toMatchObject({ steps: 2, subjects: [{ identifier: 'V1*', token: 'q', category: 'cat' }], neuronCount: Math.round(0.05 * result.concept.weightCount) });
    expect(result.concept.report).toHaveProperty('loss.random');
  });

  test('warnings go to stderr and into the JSON', async () => {
    const flags = ['--captions', at('weights.json'), '--token', 'q', '-o', at('warned.cones'), '--steps', '1', '--density', '0.9', '--report-pictures', '0', '--no-cache'];
    writeFileSync(at('weights.json'), JSON.stringify(['a (V1*:1.3) cat']));
    const { code, stdout, stderr } = await runCli(['find', PICTURES[0]!, '--json', ...QUICK, ...flags]);
    expect(code).toBe(0);
    const { warnings } = JSON.parse(stdout) as { warnings: { code: string; message: string }[] };
    expect(warnings.map((warning) => warning.code)).toEqual(expect.arrayContaining(['single-picture', 'weighting-syntax']));
    expect(stderr).toBe(warnings.map((warning) => `warning ${warning.code}: ${warning.message}\n`).join(''));
  });

  test('no pictures are refused with their own code, and nothing is written', async () => {
    const { code, stderr } = await runCli(['find', '--token', 'q', '-o', at('none.cones'), '--no-cache', ...QUICK]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error CONES_IMAGES_MISSING: /);
    expect(existsSync(at('none.cones'))).toBe(false);
  });

  test('an aborted search goes on to the same bytes', async () => {
    const args = (steps: number, output: string) =>
      ['find', ...PICTURES, '--token', 'q', '-o', at(output), '--steps', String(steps), '--report-pictures', '0', '--cache-dir', at('cache'), ...QUICK];
    const controller = new AbortController();
    const aborted = await runCli(args(1_000_000, 'aborted.cones'), {
      tty: true,
      signal: controller.signal,
      // The bar of the search: its first steps are done.
      onStderr: (text) => text.includes('ms/step') && controller.abort(),
    });
    expect({ code: aborted.code, stdout: aborted.stdout }).toEqual({ code: 130, stdout: '' });
    const [, done, state] = /error CONES_ABORTED: Interrupted after (\d+) steps\..* --resume (\S+) /.exec(aborted.stderr)!;
    expect(existsSync(at('aborted.cones'))).toBe(false);
    expect(Number(done)).toBeGreaterThan(0);

    const steps = Number(done) + 3;
    await ok([...args(steps, 'resumed.cones'), '--resume', state!]);
    await ok(args(steps, 'whole.cones'));
    expect(readFileSync(at('resumed.cones'))).toEqual(readFileSync(at('whole.cones')));
  });

  test('--state keeps a finished search, from which another density is taken without a step', async () => {
    const search = ['find', ...PICTURES, '--no-straight-through', '--token', 'q', '--steps', '4', '--report-pictures', '0', '--cache-dir', at('cache'), ...QUICK];
    await ok([...search, '-o', at('five.cones'), '--state', at('kept.state')]);
    await ok([...search, '-o', at('ten.cones'), '--resume', at('kept.state'), '--density', '0.1']);
    const [five, ten] = await Promise.all([Concept.load(at('five.cones')), Concept.load(at('ten.cones'))]);
    expect(ten.neuronCount).toBe(Math.round(0.1 * ten.weightCount));
    expect(Concept.difference(five, ten).neuronCount).toBe(0);
    expect(ten.steps).toBe(4);
  });

  test('a state of other pictures is refused', async () => {
    const search = (pictures: string[]) =>
      ['find', ...pictures, '--token', 'q', '--steps', '1', '--report-pictures', '0', '--cache-dir', at('cache'), ...QUICK];
    await ok([...search(PICTURES), '-o', at('other.cones'), '--state', at('other.state')]);
    const { code, stderr } = await runCli([...search(PICTURES.slice(1)), '-o', at('other.cones'), '--resume', at('other.state')]);
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/^error CONES_STATE_INVALID: /) });
  });
});

describe('a search whose results cannot be written', () => {
  const search = (...args: string[]) => ['find', ...PICTURES, '--token', 'q', '--steps', '3', '--cache-dir', at('cache'), ...QUICK, ...args];
  const plain = ['--report-pictures', '0'];
  /** Runs a search that begins well; when its steps have begun, `meddle` comes in the way. */
  const meddled = (args: readonly string[], meddle: () => void, signal?: AbortSignal) => {
    let begun = false;
    const onStderr = (text: string) => {
      if (begun || !text.includes('ms/step')) return;
      begun = true;
      meddle();
    };
    return runCli(args, { tty: true, onStderr, ...(signal ? { signal } : {}) });
  };
  const rescued: string[] = [];
  /** The file that an error names after `words`. */
  const named = (stderr: string, words: string) => {
    const file = new RegExp(`error [^\\n]*${words} (\\S+?)\\.?(?: to go on\\.)?\\n`).exec(stderr)![1]!;
    rescued.push(path.dirname(file));
    return file;
  };
  beforeAll(() => ok(search('-o', at('in-place.cones'), ...plain)));
  afterAll(() => rescued.filter((name) => name !== folder).forEach((name) => rmSync(name, { recursive: true })));

  test('leaves the concept in another place, where the results say it is', async () => {
    const output = at('taken.cones');
    const { code, stdout, stderr } = await meddled(search('-o', output, '--json', ...plain), () => mkdirSync(output));
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/error CONES_IO: [^\n]*taken\.cones cannot be written/) });
    const file = named(stderr, 'Saved instead:');
    expect(readFileSync(file)).toEqual(readFileSync(at('in-place.cones')));
    expect(JSON.parse(stdout)).toMatchObject({ file });
  });

  test('leaves the state in another place, and the concept in its own', async () => {
    const state = at('taken.state');
    const { code, stderr } = await meddled(search('-o', at('kept.cones'), '--state', state, ...plain), () => mkdirSync(state));
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/error CONES_IO: [^\n]*taken\.state cannot be written/) });
    expect(readFileSync(at('kept.cones'))).toEqual(readFileSync(at('in-place.cones')));
    await ok(search('-o', at('resumed-rescue.cones'), '--resume', named(stderr, 'Saved instead:'), ...plain));
    expect(readFileSync(at('resumed-rescue.cones'))).toEqual(readFileSync(at('in-place.cones')));
  });

  test('when interrupted, goes on from another place', async () => {
    const controller = new AbortController();
    const output = at('interrupted.cones');
    const interrupt = () => {
      mkdirSync(`${output}.state`);
      controller.abort();
    };
    const { code, stderr } = await meddled(search('-o', output, ...plain, '--steps', '1000000'), interrupt, controller.signal);
    expect({ code, stderr }).toEqual({ code: 130, stderr: expect.stringContaining('error CONES_ABORTED: ') });
    const done = Number(/Interrupted after (\d+) steps/.exec(stderr)![1]);
    await ok(search('-o', output, '--resume', named(stderr, '--resume'), ...plain, '--steps', String(done)));
    expect((await Concept.load(output)).steps).toBe(done);
  });

  test('is kept, too, when its report fails', async () => {
    symlinkSync(PAIR, at('pair'));
    const report = ['--report-pictures', '1', '--report-steps', '1', '--clip'];
    const { code, stderr } = await meddled(search('-o', at('unreported.cones'), ...report, at('pair')), () => unlinkSync(at('pair')));
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/error CONES_MODEL_NOT_FOUND: /) });
    const state = named(stderr, '--resume');
    expect(state).toBe(at('unreported.cones.state'));
    await ok(search('-o', at('unreported.cones'), '--resume', state, ...report, PAIR));
    expect((await Concept.load(at('unreported.cones'))).equals(await Concept.load(at('in-place.cones')))).toBe(true);
  });
});

describe('refine', () => {
  const BLACK_CAT = path.dirname(PICTURES[0]!);
  const few = ['--steps', '2', '--batch-size', '1', '--prior-count', '2', '--report-rows', '2', '--no-cache', ...MODEL];

  test('makes one concept of several, each with the folder of its subject', async () => {
    const boar = path.join(repository, 'examples/subjects/boar');
    const result = await json<{ file: string; concept: ConceptInfo }>(['refine', cat, BLACK_CAT, dog, boar, '-o', at('both.cones'), '--density', '0.05', ...few]);
    expect(result.concept).toEqual(JSON.parse(JSON.stringify((await Concept.load(at('both.cones'))).info())));
    expect(result.concept).toMatchObject({ method: 'refinement', steps: 2, subjects: [{ identifier: 'V1*', token: 'q' }, { identifier: 'V2*', token: 'z' }] });
    expect(result.concept.neuronCount).toBe(Math.round(0.05 * result.concept.weightCount));
    await ok(['refine', cat, BLACK_CAT, dog, boar, '-o', at('within.cones'), '--within', 'union', '--no-compose', ...few]);
    const union = Concept.union(await Concept.load(cat), await Concept.load(dog));
    expect(Concept.difference(await Concept.load(at('within.cones')), union).neuronCount).toBe(0);
  });

  test('a concept without its folder is a wrong command line', async () => {
    const { code, stderr } = await runCli(['refine', cat, BLACK_CAT, dog, '-o', at('none.cones'), ...few]);
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringMatching(/^error CONES_OPTION_INVALID: .*dog\.cones has no folder/) });
    expect(existsSync(at('none.cones'))).toBe(false);
  });
});

describe('train', () => {
  const BLACK_CAT = path.dirname(PICTURES[0]!);
  const few = ['--steps', '2', '--batch-size', '1', '--no-cache', ...MODEL];

  test('one subject by its pictures, into a file; several by their folders, into a folder; a model', async () => {
    const inversion = await json<object>(['train', 'textual-inversion', ...PICTURES, '--category', 'cat', '--token', 'q', '-o', at('learned_embeds.safetensors'), ...few]);
    expect(inversion).toMatchObject({ file: at('learned_embeds.safetensors'), seed: '0', method: 'textual-inversion', steps: 2, subjects: [{ identifier: 'V1*', token: 'q', category: 'cat' }] });
    expect(readFileSync(at('learned_embeds.safetensors'), 'latin1')).toContain('"V1*":{"dtype":"F32","shape":[1,32]');
    await ok(['train', 'custom-diffusion', BLACK_CAT, '--token', 'q', '-o', at('custom'), '--prior-count', '1', ...few]);
    expect(readdirSync(at('custom')).sort()).toEqual(['V1.safetensors', 'pytorch_custom_diffusion_weights.safetensors']);
    const told = await ok(['train', 'dreambooth', BLACK_CAT, '--token', 'z', '-o', at('dreambooth'), '--prior-count', '1', ...few]);
    expect(told).toContain('"z cat" (V1* here)');
    await ok(['generate', 'a z cat', '--model', at('dreambooth'), '--threads', '1', '--steps', '1', '-o', at('z.png')]);
  });

  test('what is kept goes on, and is refused for another method', async () => {
    const train = (...args: string[]) => ['train', 'textual-inversion', BLACK_CAT, '--token', 'q', '-o', at('kept.safetensors'), '--state', at('training.state'), '--batch-size', '1', '--no-cache', ...MODEL, ...args];
    await ok(train('--steps', '1'));
    await ok(train('--steps', '3'));
    await ok(['train', 'textual-inversion', BLACK_CAT, '--token', 'q', '-o', at('whole.safetensors'), '--steps', '3', '--batch-size', '1', '--no-cache', ...MODEL]);
    expect(readFileSync(at('kept.safetensors'))).toEqual(readFileSync(at('whole.safetensors')));
    const { code, stderr } = await runCli(['train', 'custom-diffusion', BLACK_CAT, '--token', 'q', '-o', at('other'), '--state', at('training.state'), '--prior-count', '1', ...few]);
    expect({ code, stderr: unexpected(stderr) }).toEqual({ code: 1, stderr: expect.stringContaining('CONES_STATE_INVALID') });
  });

  test('a folder that has something in it is no place for a model, and no method is a wrong command line', async () => {
    const { code, stderr } = await runCli(['train', 'dreambooth', BLACK_CAT, '-o', folder, ...few]);
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining('is not empty') });
    expect(await runCli(['train', 'lora', BLACK_CAT, '-o', at('lora'), ...few])).toMatchObject({ code: 2, stderr: expect.stringContaining('the option method') });
  });
});

describe('generate', () => {
  type Result = { pictures: { file: string; width: number; height: number; metadata: GeneratedImage['metadata'] }[]; warnings: unknown[] };
  const draw = (...args: string[]) => ['generate', 'a V1* cat and a V2* cat', '--concept', cat, '--concept', dog, '--steps', '2', ...MODEL, ...args];

  test('several pictures are numbered, with their seeds in the files; the same seed is the same file', async () => {
    const { pictures, warnings } = await json<Result>(draw('-o', at('two.png'), '--count', '2', '--seed', '41'));
    expect(pictures.map(({ file }) => file)).toEqual([at('two-1.png'), at('two-2.png')]);
    expect(warnings).toEqual([]);
    for (const [i, { file, width, height, metadata }] of pictures.entries()) {
      expect(await readMetadata(file)).toEqual(metadata);
      expect(metadata).toMatchObject({ seed: String(41 + i), concepts: 'V1* cat, V2* cat', prompt: 'a V1* cat and a V2* cat' });
      expect(await sharp(file).metadata()).toMatchObject({ width, height });
    }
    await ok(draw('-o', at('one.png'), '--seed', '42'));
    expect(readFileSync(at('one.png'))).toEqual(readFileSync(at('two-2.png')));
  });

  test('a random seed is printed, and draws the same picture again', async () => {
    const seed = /seed (\d+)/.exec(await ok(draw('-o', at('random.png'))))![1]!;
    await ok(draw('-o', at('random-again.png'), '--seed', seed));
    expect(readFileSync(at('random-again.png'))).toEqual(readFileSync(at('random.png')));
  });

  test('a grid is one file, with all seeds', async () => {
    const { pictures } = await json<Result>(draw('-o', at('grid.jpg'), '--count', '3', '--grid', '--columns', '3', '--seed', '1'));
    expect(pictures.map(({ file }) => file)).toEqual(Array(3).fill(at('grid.jpg')));
    const { width, height } = pictures[0]!;
    expect(await sharp(at('grid.jpg')).metadata()).toMatchObject({ width: 3 * width + 2 * 4, height });
    expect(await readMetadata(at('grid.jpg'))).toMatchObject({ seed: '1, 2, 3' });
    expect(readdirSync(folder).filter((name) => name.startsWith('grid'))).toEqual(['grid.jpg']);
  });

  test.each([
    ["wider than WebP allows, of the model's own size", '.webp', 241, ['--columns', '241'], /A grid of 16384 x 64 pixels cannot be written as webp/],
    ['higher than WebP allows', '.webp', 241, ['--columns', '1', '--width', '32', '--height', '64'], /A grid of 32 x 16384 pixels cannot be written as webp/],
    ['wider than JPEG allows', '.jpg', 964, ['--columns', '964', '--height', '32'], /A grid of 65548 x 32 pixels cannot be written as jpeg/],
    ['of too many pixels', '.png', 4, ['--columns', '4', '--width', '8192', '--height', '8192'], /A grid of 32780 x 8192 pixels cannot be written as png/],
  ])('a grid %s is refused before it is drawn, with one picture less it is not', async (_, extension, count, flags, message) => {
    // Whoever gets to drawing says that it was interrupted.
    const signal = AbortSignal.abort();
    const grid = (n: number) => runCli(draw('-o', at(`large${extension}`), '--grid', '--count', String(n), ...flags), { signal });
    expect(await grid(count)).toEqual({ code: 2, stdout: '', stderr: expect.stringMatching(message) });
    expect(await grid(count - 1)).toMatchObject({ code: 130, stderr: expect.stringMatching(/^error CONES_ABORTED: /) });
  });

  test('the metadata that is tried before drawing is no shorter than what is written', async () => {
    const given = ['--negative-prompt', 'a dog', '--sampler', 'euler', '--guidance', '3.25'];
    const concepts = await Promise.all([cat, dog].map((file) => Concept.load(file)));
    const plan = { output: '', prompt: 'a V1* cat and a V2* cat', concepts };
    const ddim = ['--sampler', 'ddim', '--eta', '0.125', '--width', '32'];
    for (const [flags, known] of [[[], {}], [given, { negativePrompt: 'a dog', sampler: 'euler', guidance: 3.25, steps: 2 }], [ddim, { sampler: 'ddim', eta: 0.125, width: 32 }]] as const) {
      const { pictures } = await json<Result>(draw('-o', at('tried.png'), '--count', '2', ...flags));
      const longest = longestMetadata({ ...plan, ...known }, 2);
      for (const { metadata } of pictures) {
        expect(Object.keys(longest)).toEqual(expect.arrayContaining(Object.keys(metadata)));
        for (const [key, value] of Object.entries(metadata)) expect(longest[key]!.length).toBeGreaterThanOrEqual(value.length);
      }
    }
    const seeds = ['--count', '3', '--seed', '9', '--grid'];
    await json<Result>(draw('-o', at('tried.png'), ...seeds));
    const grid = longestMetadata({ ...plan, grid: true, seed: 9n }, 3);
    expect(await readMetadata(at('tried.png'))).toMatchObject({ seed: grid['seed'], concepts: grid['concepts'] });
  });

  test('every flag reaches the engine', async () => {
    const flags = ['--negative-prompt', 'a dog', '--sampler', 'ddim', '--guidance', '3', '--eta', '0.5', '--width', '32', '--height', '48', '--batch-size', '1'];
    const [plain, flagged] = [at('plain.png'), at('flagged.png')];
    await ok(draw('-o', plain, '--seed', '1'));
    const { pictures } = await json<Result>(draw('-o', flagged, '--seed', '1', ...flags));
    expect(pictures[0]).toMatchObject({ width: 32, height: 48, metadata: { negativePrompt: 'a dog', sampler: 'ddim', guidance: '3', steps: '2' } });
    const without = async (flag: string) => {
      const i = flags.indexOf(flag);
      await ok(draw('-o', plain, '--seed', '1', ...flags.slice(0, i), ...flags.slice(i + 2)));
      return readFileSync(plain);
    };
    for (const flag of ['--negative-prompt', '--guidance', '--eta']) expect(await without(flag)).not.toEqual(readFileSync(flagged));
  });

  test('the help tells the true defaults', async () => {
    const { stdout } = await runCli(['generate', '--help']);
    const help = stdout.replace(/\s+/g, ' ');
    const { pictures } = await json<Result>(['generate', 'a cat', '-o', at('default.png'), '--seed', '1', ...MODEL]);
    const { steps, guidance } = pictures[0]!.metadata;
    expect(help).toContain(`UNet evaluations (default: ${steps})`);
    expect(help).toContain(`up to 1: none (default: ${guidance})`);
    expect(pictures).toHaveLength(1);
  });

  test('warnings go to stderr and into the JSON; the exit code stays 0', async () => {
    const { code, stdout, stderr } = await runCli(['generate', 'a V9* cat', '-o', at('warned.png'), '--steps', '1', '--json', ...MODEL]);
    expect(code).toBe(0);
    expect(stderr).toMatch(/^warning unknown-identifier: [^\n]*V9[^\n]*\n$/);
    expect(JSON.parse(stdout)).toMatchObject({ warnings: [{ code: 'unknown-identifier' }] });
  });

  test('an empty prompt, and a concept of another model', async () => {
    expect((await runCli(['generate', ' ', '-o', at('x.png'), ...MODEL])).stderr).toMatch(/^error CONES_PROMPT_EMPTY: /);
    const foreign = (await Concept.load(cat)).with({ fingerprint: `sha256:${'0'.repeat(64)}` });
    await foreign.save(at('foreign.cones'));
    const { code, stderr } = await runCli(['generate', 'a cat', '--concept', at('foreign.cones'), '-o', at('x.png'), ...MODEL]);
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/^error CONES_CONCEPT_MISMATCH: /) });
    expect(existsSync(at('x.png'))).toBe(false);
  });

  test('bars are drawn for a terminal only', async () => {
    const { stderr } = await runCli(draw('-o', at('bar.png'), '--sampler', 'ddim'), { tty: true });
    expect(stderr).toContain('draw');
    expect(stderr).toContain('2/2');
  });
});

describe('inspect', () => {
  test("FILE.cones=NAME is a concept under another name, as two users' need that have the same", async () => {
    const twice = ['generate', 'a V1* cat and a V2* cat', '--concept', cat, '--steps', '2', '--seed', '1', '--json', ...MODEL];
    expect((await runCli([...twice, '--concept', `${dog}=V1*`, '-o', at('named.png')])).stderr).toContain('FILE.cones=V2*');
    const { pictures, warnings } = await json<{ pictures: { metadata: Record<string, string> }[]; warnings: unknown[] }>([...twice, '--concept', `${cat}=V2*`, '-o', at('named.png')]);
    expect(pictures[0]!.metadata['concepts']).toBe('V1* cat, V2* cat');
    expect(warnings).toEqual([]);
  });

  test('--json has everything that the files have, and what each two concepts share', async () => {
    await ok(['generate', 'a V1* cat', '--concept', cat, '-o', at('inspected.webp'), '--steps', '1', ...MODEL]);
    const { files, overlaps } = await json<{ files: Record<string, unknown>[]; overlaps: unknown[] }>(['inspect', cat, dog, at('inspected.webp')]);
    const concepts = await Promise.all([cat, dog].map((file) => Concept.load(file)));
    const plain = (value: unknown) => JSON.parse(JSON.stringify(value)) as unknown;
    expect(files).toEqual([
      { file: cat, kind: 'concept', ...(plain(concepts[0]!.info()) as object) },
      { file: dog, kind: 'concept', ...(plain(concepts[1]!.info()) as object) },
      { file: at('inspected.webp'), kind: 'picture', metadata: await readMetadata(at('inspected.webp')) },
    ]);
    expect(overlaps).toEqual([{ files: [cat, dog], ...(plain(Concept.jaccard(concepts[0]!, concepts[1]!)) as object) }]);
  });

  test('the text names subject, report and every weight; --no-layers leaves the weights out', async () => {
    const concept = await Concept.load(cat);
    const text = await ok(['inspect', cat]);
    for (const part of ['V1* cat (token "q", learned embedding of ', 'loss on held-out noise', '"photo of a V1* cat"', 'CLIP alignment', ...concept.tensors.keys()]) {
      expect(text).toContain(part);
    }
    const short = await ok(['inspect', cat, '--no-layers']);
    expect(short).not.toContain([...concept.tensors.keys()][0]);
  });
});

// Signals, limits and the process's own streams need a process of their own, so these run the built package.
const CLI = path.join(repository, 'dist/cli/index.js');

interface Process {
  readonly child: ReturnType<typeof spawn>;
  readonly exit: Promise<{ code: number | null; signal: NodeJS.Signals | null; stdout: string; stderr: string }>;
}

/** @param files where stdout and stderr go instead of into the result */
function start(args: readonly string[], { node = [], files = {} }: { node?: readonly string[]; files?: { stdout?: number; stderr?: number } } = {}): Process {
  const child = spawn(process.execPath, [...node, CLI, ...args], { stdio: ['ignore', files.stdout ?? 'pipe', files.stderr ?? 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout?.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  return { child, exit: new Promise((resolve) => child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }))) };
}

test.each([['SIGINT', 130], ['SIGTERM', 143], ['SIGHUP', 129]] as const)('%s ends a search cleanly, with its state saved and exit code %i', async (signal, expected) => {
  const cache = at(`cache-${signal}`);
  mkdirSync(cache);
  const { child, exit } = start(['find', ...PICTURES, '--token', 'q', '-o', at(`${signal}.cones`), '--steps', '1000000', '--cache-dir', cache, ...QUICK]);
  // The prior pictures are cached right before the search begins.
  let running = true;
  void exit.then(() => (running = false));
  while (running && !readdirSync(cache).some((name) => name.endsWith('.latents'))) await new Promise((resolve) => setTimeout(resolve, 5));
  child.kill(signal);
  expect(await exit).toEqual({
    ...{ code: expected, signal: null, stdout: '' },
    stderr: expect.stringMatching(/^error CONES_ABORTED: [^\n]+\n$/),
  });
});

describe('a search that is killed', () => {
  const search = (steps: number, output: string) =>
    ['find', ...PICTURES, '--token', 'q', '-o', at(output), '--steps', String(steps), '--report-pictures', '0', '--cache-dir', at('killed-cache'), ...QUICK];
  const told = (stderr: string) =>
    stderr.split('\n').filter((line) => line.endsWith('}')).map((line) => JSON.parse(line) as { event: string; phase: string; step: number }).filter(({ phase }) => phase === 'search');

  test('has lost no more steps than there are between two savings, and goes on to the same bytes', async () => {
    const every = 3;
    const flags = ['--state', at('killed.state'), '--state-every', String(every), '--progress', 'json'];
    const { child, exit } = start([...search(1_000_000, 'killed.cones'), ...flags]);
    let stderr = '';
    child.stderr!.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
      if ((told(stderr).at(-1)?.step ?? 0) > 2 * every) child.kill('SIGKILL');
    });
    expect(await exit).toMatchObject({ code: null, signal: 'SIGKILL', stdout: '' });
    const last = told(stderr).at(-1)!.step;

    const steps = last + every + 2;
    const resumed = await runCli([...search(steps, 'resumed-kill.cones'), ...flags]);
    expect(resumed.code).toBe(0);
    const first = told(resumed.stderr)[0]!.step - 1;
    expect(first % every).toBe(0);
    expect(first).toBeGreaterThan(0);
    expect(last - first).toBeLessThanOrEqual(every);
    await ok(search(steps, 'whole-kill.cones'));
    expect(readFileSync(at('resumed-kill.cones'))).toEqual(readFileSync(at('whole-kill.cones')));
  });

  test('a state of something else is not written over', async () => {
    writeFileSync(at('mine.state'), 'my notes');
    const { code, stderr } = await runCli([...search(2, 'mine.cones'), '--state', at('mine.state')]);
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/^error CONES_STATE_INVALID: /) });
    expect(readFileSync(at('mine.state'), 'utf8')).toBe('my notes');
  });
});

describe('report', () => {
  const few = ['--pictures', '1', '--steps', '1', ...MODEL];
  /** The page, which must be well formed but for HTML's own elements without an end. */
  const page = (name: string) => readFileSync(at(name), 'utf8');
  const pictures = (html: string, kind: 'jpeg' | 'png') => [...html.matchAll(new RegExp(`src="data:image/${kind};base64,([^"]+)"`, 'g'))].map(([, data]) => Buffer.from(data!, 'base64'));

  test('is one page with curve, sweep, pictures before and after, and a mask per weight', async () => {
    await ok(['find', ...PICTURES, '--no-straight-through', '--token', 'q', '-o', at('swept.cones'), '--steps', '3', '--report-pictures', '1', '--report-steps', '1', '--densities', '0.01,0.1', '--no-cache',
      ...QUICK.filter((flag, i) => flag !== '--density' && QUICK[i - 1] !== '--density')]);
    expect(await ok(['report', at('swept.cones'), '-o', at('swept.html'), ...few])).toBe(`${at('swept.html')}\n`);
    const html = page('swept.html');
    const concept = await Concept.load(at('swept.cones'));
    for (const title of ['Loss on held-out noise', 'Loss during the search', 'Densities tried', 'Pictures measured in the search', 'Before and after', 'Masks']) expect(html).toContain(`<h2>${title}</h2>`);
    expect(html.match(/<svg viewBox="0 0 640 300"/g)).toHaveLength(2);
    for (const { name } of concept.info().tensors) expect(html).toContain(`<td>${name}</td>`);
    // Of "photo of a V1* cat" and "photo of a cat", before and after.
    const drawn = pictures(html, 'jpeg');
    expect(drawn).toHaveLength(4);
    expect(new Set(drawn.map((bytes) => bytes.toString('base64'))).size).toBe(4);
    expect(await readMetadata(drawn[1]!)).toMatchObject({ prompt: 'photo of a V1* cat', concepts: 'V1* cat' });
    const masks = pictures(html, 'png');
    expect(masks).toHaveLength(concept.tensors.size);
    // The first mask's picture, cell by cell: the weights are no larger than a picture's cells.
    const [{ shape, indices }] = [...concept.tensors.values()] as [{ shape: readonly number[]; indices: Uint32Array }];
    const { data, info } = await sharp(masks[0]).removeAlpha().raw().toBuffer({ resolveWithObject: true });
    expect([info.height, info.width]).toEqual([...shape]);
    const lit = Array.from({ length: shape[0]! * shape[1]! }, (_, i) => i).filter((i) => data[info.channels * i]! > 0);
    expect(lit).toEqual([...indices]);
  });

  test('needs no model without pictures, runs no script, and shows what others wrote as text', async () => {
    const evil = '"><img/src=x>';
    const concept = await Concept.load(cat);
    const report = { ...(concept.report as object), history: { step: [1], subject: ['<b>'], prior: [0] } } as never;
    await concept.with({ subjects: concept.subjects.map((subject) => ({ ...subject, identifier: evil })), method: '<script>alert(1)</script>', report }).save(at('evil.cones'));
    await ok(['report', at('evil.cones'), '-o', at('evil.html'), '--pictures', '0', '--model', 'nowhere']);
    const html = page('evil.html');
    expect(html).not.toMatch(/<script|<img\/src|<b>/);
    expect(html).toContain('&quot;&gt;&lt;img/src=x&gt; cat');
    expect(html).toContain("default-src 'none'");
    // The rest of a report whose history is nonsense is shown.
    expect(html).toContain('Loss on held-out noise');
    expect(html).not.toContain('Loss during the search');
  });

  test('of another model says what to do, and writes nothing', async () => {
    const { code, stderr } = await runCli(['report', cat, '-o', at('none.html')]);
    expect({ code, stderr: unexpected(stderr) }).toEqual({ code: 1, stderr: expect.stringMatching(/^error CONES_CONCEPT_MISMATCH: .*--pictures 0/) });
    expect(existsSync(at('none.html'))).toBe(false);
  });
});

describe('generate --prompts', () => {
  const few = ['--steps', '1', ...MODEL];
  interface Told { line: number; prompt: string; pictures: { file: string; metadata: Record<string, string> }[]; error?: { code: string } }
  const told = (stdout: string) => stdout.trimEnd().split('\n').map((line) => JSON.parse(line) as Told);

  test('draws a file line by line, each as if it were alone', async () => {
    writeFileSync(at('prompts.txt'), '\uFEFFa cat\r\n\n{"prompt": "a V1* cat", "seed": "18446744073709551615", "count": 2, "width": 32}\na V2* cat\n{"prompt": "a V2* dog", "concepts": ["v2*"]}');
    const flags = ['--prompts', at('prompts.txt'), '--seed', '5', '--concept', cat, '--concept', dog, '-o', at('many.png'), '--json', ...few];
    const { code, stdout, stderr } = await runCli(['generate', ...flags]);
    expect(code).toBe(0);
    const pictures = told(stdout);
    expect(pictures.map(({ line, prompt }) => ({ line, prompt }))).toEqual(['a cat', 'a V1* cat', 'a V2* cat', 'a V2* dog'].map((prompt, i) => ({ line: i + 1, prompt })));
    const files = ['many-0001.png', 'many-0002-1.png', 'many-0002-2.png', 'many-0003.png', 'many-0004.png'].map(at);
    expect(pictures.flatMap((own) => own.pictures.map(({ file }) => file))).toEqual(files);
    expect(pictures.flatMap((own) => own.pictures.map(({ metadata }) => [metadata['seed'], metadata['width'], metadata['concepts']]))).toEqual([
      ['5', '64', 'V1* cat, V2* cat'], ['18446744073709551615', '32', 'V1* cat, V2* cat'], ['0', '32', 'V1* cat, V2* cat'], ['5', '64', 'V1* cat, V2* cat'], ['5', '64', 'V2* cat'],
    ]);
    expect(stderr).toMatch(/^warning concept-unnamed: Prompt 1: /m);
    await ok(['generate', 'a V2* dog', '--seed', '5', '--concept', dog, '-o', at('alone.png'), ...few]);
    expect(readFileSync(at('alone.png'))).toEqual(readFileSync(files[4]!));
  });

  test('draws what another program writes as soon as it is there, and goes on after a line that cannot be drawn', async () => {
    const lines: string[] = [];
    async function* stdin() {
      yield Buffer.from('a c');
      yield Buffer.from('at\n{"prompt": "a cat", "steps": 0}\n{"prompt": 5}\n{"pro\n{"prompt": "a cat", "output": "x.png"}\n{"prompt": "a cat", "concepts": ["V7*"]}\n');
      // The first is drawn and told while nobody has said that there will be no more.
      while (!existsSync(at('piped-0001.png'))) await new Promise((resolve) => setTimeout(resolve, 5));
      lines.push('drawn');
      yield 'a dog';
    }
    const { code, stdout, stderr } = await runCli(['generate', '--prompts', '-', '-o', at('piped.png'), '--json', '--progress', 'json', ...few], { stdin: stdin() });
    expect(lines).toEqual(['drawn']);
    expect(told(stdout).map(({ error, pictures }) => error?.code ?? pictures.length)).toEqual([1, ...Array<string>(5).fill('CONES_OPTION_INVALID'), 1]);
    const events = told(stderr) as unknown as { event: string; line?: number; phase?: string; message?: string }[];
    expect(events.filter(({ event }) => event === 'progress').map(({ phase, line }) => ({ phase, line }))).toEqual([1, 7].map((line) => ({ phase: 'draw', line })));
    expect(events.filter(({ event }) => event === 'error').map(({ message }) => message!.slice(0, 8))).toEqual([2, 3, 4, 5, 6].map((line) => `Prompt ${line}`).concat('5 of 7 p'));
    expect(code).toBe(2);
  });

  test('ends when it is interrupted, though nobody has ended the lines', async () => {
    const controller = new AbortController();
    let destroyed = false;
    const stdin = Object.assign((async function* () {
      yield 'a cat\n';
      while (!existsSync(at('stopped-0001.png'))) await new Promise((resolve) => setTimeout(resolve, 5));
      controller.abort();
      await new Promise(() => undefined);
    })(), { destroy: () => (destroyed = true) });
    const { code, stdout } = await runCli(['generate', '--prompts', '-', '-o', at('stopped.png'), ...few], { stdin, signal: controller.signal });
    expect({ code, destroyed }).toEqual({ code: 130, destroyed: true });
    expect(stdout === '' || stdout.includes('stopped-0001.png')).toBe(true);
  });

  test.each([[['a cat']], [['--from', 'x.png']], [['--grid']]])('does not go with %p', async (other) => {
    expect((await runCli(['generate', ...other, '--prompts', '-', ...few])).code).toBe(2);
  });
});

test('--progress json: all of stderr is JSON, warnings and errors too', async () => {
  const { code, stdout, stderr } = await runCli(['generate', 'a V9* cat', '-o', at('told.png'), '--sampler', 'ddim', '--steps', '2', '--progress', 'json', ...MODEL]);
  expect(code).toBe(0);
  const lines = (text: string) => text.trimEnd().split('\n').map((line) => JSON.parse(line) as { event: string });
  expect(lines(stderr).filter(({ event }) => event === 'progress')).toEqual(
    [1, 2].map((step) => ({ event: 'progress', phase: 'draw', step, steps: 2, remainingMs: expect.any(Number) })),
  );
  expect(lines(stderr)).toContainEqual({ event: 'warning', code: 'unknown-identifier', message: expect.any(String) });
  expect(stdout).toMatch(/told\.png {2}seed \d+\n\d+\.\d s\n$/);
  const failed = await runCli(['generate', 'a cat', '-o', at('nowhere/told.png'), '--progress', 'json', ...MODEL]);
  expect(lines(failed.stderr)).toEqual([{ event: 'error', code: 'CONES_IO', message: expect.any(String) }]);
  const silent = await runCli(['generate', 'a cat', '-o', at('told.png'), '--steps', '1', '--progress', 'none', ...MODEL], { tty: true });
  expect(unexpected(silent.stderr)).toBe('');
  expect((await runCli(['generate', 'a cat', '--progress', 'loud'])).code).toBe(2);
});

test('a command that cannot end cleanly ends at the first signal', async () => {
  // As if the file were on a disk that does not answer.
  const preload = at('stuck.cjs');
  writeFileSync(preload, "require('node:fs/promises').stat = () => { console.log('stuck'); return new Promise(() => setTimeout(() => process.exit(9), 30_000)); };");
  const { child, exit } = start(['inspect', cat], { node: ['--require', preload] });
  child.stdout!.once('data', () => child.kill('SIGINT'));
  expect(await exit).toEqual({ code: null, signal: 'SIGINT', stdout: 'stuck\n', stderr: '' });
});

describe('streams that cannot be written to', () => {
  let full: number;
  beforeAll(() => void (full = openSync('/dev/full', 'w')));
  afterAll(() => closeSync(full));

  test('results that cannot be printed are an error, in one line', async () => {
    const expected = { code: 1, signal: null, stdout: '', stderr: expect.stringMatching(/^error CONES_IO: [^\n]*ENOSPC[^\n]*\n$/) };
    expect(await start(['inspect', cat], { files: { stdout: full } }).exit).toEqual(expected);
    expect(await start(['generate', 'a cat', '-o', at('unprinted.png'), '--steps', '1', ...MODEL], { files: { stdout: full } }).exit).toEqual(expected);
    expect(existsSync(at('unprinted.png'))).toBe(true);
  });

  test('a reader that has enough is none', async () => {
    const { child, exit } = start(['inspect', cat]);
    child.stdout!.destroy();
    expect(await exit).toMatchObject({ code: 0, stderr: '' });
  });

  test('warnings that nobody can read do not spoil the result', async () => {
    const args = ['generate', 'a V9* cat', '-o', at('unwarned.png'), '--steps', '1', '--json', ...MODEL];
    const { code, stdout } = await start(args, { files: { stderr: full } }).exit;
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ pictures: [{ file: at('unwarned.png') }], warnings: [{ code: 'unknown-identifier' }] });
    const { child, exit } = start(args);
    child.stderr!.destroy();
    expect(await exit).toMatchObject({ code: 0, stdout: expect.stringContaining('unknown-identifier') });
  });
});

test('more pictures than files may be open', async () => {
  const pictures = at('pictures');
  mkdirSync(pictures);
  const args = ['generate', 'a cat', '-o', path.join(pictures, 'x.png'), '--count', '200', '--steps', '1', '--width', '16', '--height', '16', ...MODEL];
  const child = spawn('sh', ['-c', 'ulimit -n 100; exec "$@"', 'sh', process.execPath, CLI, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const code = await new Promise((resolve) => child.on('close', resolve));
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(readdirSync(pictures)).toHaveLength(200);
});
