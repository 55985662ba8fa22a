// How command lines are read, and what goes wrong with them; nothing here loads a model.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Command } from 'commander';
import { seed } from '../../lib/cli/arguments';
import { addFindFlags, type FindFlags, findOptions } from '../../lib/cli/find-flags';
import { duration } from '../../lib/cli/progress';
import { table } from '../../lib/cli/table';
import { Concept } from '../../lib/concept';
import { ERROR_CODES } from '../../lib/errors';
import { encodeImage } from '../../lib/images/images';
import { version } from '../../lib/version';
import { runCli } from '../cli-run';

let folder: string;
beforeAll(() => void (folder = mkdtempSync(path.join(os.tmpdir(), 'cones-cli-'))));
afterAll(() => rmSync(folder, { recursive: true }));

/** A concept file of one weight. */
async function conceptFile(name: string, identifier = 'V1*', token = 'sks'): Promise<string> {
  const file = path.join(folder, name);
  const concept = Concept.create({
    fingerprint: `sha256:${'0'.repeat(64)}`,
    subjects: [{ identifier, token, category: 'cat' }],
    method: 'algorithm-a2',
    steps: 1,
    engineVersion: version,
    tensors: new Map([['w', { shape: [4, 4], indices: Uint32Array.of(3, 5) }]]),
  });
  await concept.save(file);
  return file;
}

describe('exit codes', () => {
  test.each([
    ['no command', []],
    ['an unknown command', ['draw']],
    ['an unknown flag', ['generate', 'a cat', '--colour', 'red']],
    ['a missing argument', ['generate']],
    ['too many arguments', ['generate', 'a', 'cat']],
    ['a missing flag', ['find', 'a.png', '--category', 'cat']],
    ['a flag without its value', ['generate', 'a cat', '--steps']],
    ['a picture format that cannot be written', ['generate', 'a cat', '-o', 'cat.bmp']],
    ['a grid without columns', ['generate', 'a cat', '--grid', '--columns', '0']],
  ])('2 for %s, with nothing on stdout', async (_, args) => {
    const { code, stdout } = await runCli(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });

  test.each([
    ['steps', '0'],
    ['steps', 'many'],
    ['steps', ''],
    ['learning-rate', '-1'],
    ['density', '2'],
    ['density', 'best'],
    ['timesteps', '5'],
    ['algorithm', '3'],
    ['seed', '-1'],
    ['seed', '0.5'],
    ['seed', '18446744073709551616'],
    ['densities', '0.1,x'],
    ['report-rows', '0'],
  ])('2 for find --%s %p: the engine refuses it, before any model is loaded', async (flag, value) => {
    const { code, stderr } = await runCli(['find', 'a.png', '--category', 'cat', '-o', path.join(folder, 'x.cones'), '--model', 'nowhere', `--${flag}=${value}`]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^error CONES_OPTION_INVALID: findConcept: .+\.\n$/);
  });

  test('0 for help and version', async () => {
    expect(await runCli(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
    for (const args of [['--help'], ['find', '--help'], ['generate', '--help'], ['inspect', '--help']]) {
      expect(await runCli(args)).toMatchObject({ code: 0, stdout: expect.stringContaining('Usage: cones'), stderr: '' });
    }
  });

  test.each([
    ['CONES_MODEL_NOT_FOUND', ['generate', 'a cat', '-o', 'x.png', '--model', 'no/such/model']],
    ['CONES_IO', ['generate', 'a cat', '-o', 'no/such/folder/cat.png']],
    ['CONES_IO', ['find', 'a.png', '--category', 'cat', '-o', 'no/such/folder/cat.cones']],
    ['CONES_IO', ['find', 'a.png', '--category', 'cat', '-o', 'cat.cones', '--resume', 'no-such.state']],
    ['CONES_IO', ['generate', 'a cat', '--concept', 'no-such.cones']],
    ['CONES_IO', ['inspect', 'no-such.cones']],
    ['CONES_IO', ['inspect', 'no-such.png']],
  ])('1 for %s: %p', async (name, args) => {
    const { code, stdout, stderr } = await runCli(args);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(new RegExp(`^error ${name}: [^\n]+\n$`));
    expect(ERROR_CODES).toHaveProperty(name);
  });

  test('--verbose prints the stack, too', async () => {
    const { stderr } = await runCli(['inspect', 'no-such.cones', '--verbose']);
    expect(stderr).toMatch(/^error CONES_IO: .*\n(.*\n)*\s+at .*inspect/);
    expect(stderr).toContain('Caused by: ');
  });
});

describe('find', () => {
  const parse = async (args: string[], pictures: string[] = ['a.png']) => {
    const command = addFindFlags(new Command());
    command.parse(args, { from: 'user' });
    return findOptions(pictures, command.opts<FindFlags>());
  };

  test('every option of findConcept has a flag', async () => {
    const other = await conceptFile('other.cones');
    const files = { captions: [['a V2* cat', 'a cat']], prior: ['a cat', 'two cats'] };
    const captions = path.join(folder, 'captions.json');
    const priorCaptions = path.join(folder, 'prior.json');
    const state = path.join(folder, 'saved.state');
    writeFileSync(captions, JSON.stringify(files.captions));
    writeFileSync(priorCaptions, JSON.stringify(files.prior));
    writeFileSync(state, 'state');
    const options = await parse([
      ...['--category', 'cat', '--identifier', 'V2*', '--token', 'ucd', '--others', other],
      ...['--captions', captions, '--seed', '18446744073709551615'],
      ...['--prior-images', 'b.png', 'c.png', '--prior-captions', priorCaptions],
      ...['--prior-weight', '0.5', '--prior-batch-size', '3', '--cache-dir', folder],
      ...['--steps', '10', '--batch-size', '2', '--algorithm', '1', '--optimizer', 'sgd', '--learning-rate', '2e-5'],
      ...['--scale-learning-rate', '--no-clamp', '--no-straight-through', '--timesteps', '10,20', '--no-self', '--no-values', '--checkpointing'],
      ...['--learn-embedding', '--embedding-rate', '0.01', '--embedding-init', 'category', '--ranking', 'score', '--density', '0.25', '--densities', '0.1,0.2'],
      ...['--report-rows', '4', '--report-pictures', '0', '--report-steps', '6', '--other-category', 'owl', '--clip', 'pair', '--resume', state],
    ]);
    const { others, ...rest } = options;
    expect(others?.map(({ subjects }) => subjects[0]!.token)).toEqual(['sks']);
    expect(rest).toEqual({
      images: ['a.png'], category: 'cat', identifier: 'V2*', token: 'ucd', captions: files.captions, seed: 2n ** 64n - 1n,
      priorImages: ['b.png', 'c.png'], priorCaptions: files.prior, priorWeight: 0.5, priorBatchSize: 3, cacheDir: folder,
      steps: 10, batchSize: 2, algorithm: '1', optimizer: 'sgd', learningRate: 2e-5, scaleLearningRate: true, clamp: false, straightThrough: false,
      timesteps: [10, 20], layers: { self: false, cross: true, keys: true, values: false }, checkpointing: true,
      learnEmbedding: true, embeddingRate: 0.01, embeddingInit: 'category', ranking: 'score', density: 0.25, resume: Buffer.from('state'),
      report: { rows: 4, densities: [0.1, 0.2], pictures: 0, steps: 6, otherCategory: 'owl', clip: 'pair' },
    });
    // These take the place of a density and of given prior pictures.
    expect(await parse(['--category', 'cat', '--threshold', '1.5', '--prior-count', '2', '--prior-guidance', '3', '--no-clip'])).toMatchObject({
      threshold: 1.5, priorCount: 2, priorGuidance: 3, report: { clip: null },
    });
  });

  test('flags that are not given leave the engine its defaults', async () => {
    const { images, category, others, layers, report, ...rest } = await parse(['--category', 'cat']);
    expect({ images, category, others }).toEqual({ images: ['a.png'], category: 'cat', others: [] });
    expect(layers).toEqual({ self: true, cross: true, keys: true, values: true });
    expect([...Object.values(rest), ...Object.values(report!)].filter((value) => value !== undefined)).toEqual([]);
  });

  test('--no-cache, --no-checkpointing and --density auto', async () => {
    expect(await parse(['--category', 'cat', '--checkpointing', 'light'])).toMatchObject({ checkpointing: 'light' });
    const options = await parse(['--category', 'cat', '--no-cache', '--no-checkpointing', '--density', 'auto']);
    expect(options).toMatchObject({ cacheDir: null, checkpointing: false, density: 'auto' });
  });

  test('a folder brings its category and captions; flags go first', async () => {
    const subject = path.join(__dirname, '../../examples/subjects/boar');
    const options = await parse(['--identifier', 'V2*'], [subject]);
    expect(options).toMatchObject({ category: 'pig', identifier: 'V2*' });
    expect(options.images.map((image) => path.basename(image as string))).toEqual(['0.png', '1.png', '2.png', '3.png', '4.png']);
    expect(options.captions?.[0]).toEqual(['a photo of a V2* pig on the grass']);
    const file = path.join(folder, 'own-captions.json');
    writeFileSync(file, JSON.stringify(['a V1* boar']));
    expect(await parse(['--category', 'boar', '--captions', file], [subject])).toMatchObject({ category: 'boar', captions: ['a V1* boar'] });
  });

  test('what the subject is has to be said', async () => {
    await expect(parse([])).rejects.toMatchObject({ code: 'CONES_OPTION_INVALID' });
  });

  test('captions that are no JSON are refused', async () => {
    const file = path.join(folder, 'captions.txt');
    writeFileSync(file, 'a V1* cat');
    await expect(parse(['--category', 'cat', '--captions', file])).rejects.toMatchObject({ code: 'CONES_OPTION_INVALID' });
  });
});

describe('what could not be saved in the end is refused before the model is loaded', () => {
  let outputs: string;
  const at = (name: string) => `${outputs}/${name}`;
  const find = (...args: string[]) => ['find', 'a.png', '--category', 'cat', '--model', 'nowhere', ...args];
  const generate = (...args: string[]) => ['generate', 'a cat', '--model', 'nowhere', ...args];
  const longest = (extension: string) => `${'x'.repeat(255 - extension.length)}${extension}`;

  beforeAll(() => {
    outputs = path.join(folder, 'outputs');
    for (const name of ['', 'folder', 'folder.png', 'many-2.png']) mkdirSync(at(name));
    execFileSync('mkfifo', [at('pipe')]);
    execFileSync('mkfifo', [at('pipe.png')]);
    writeFileSync(at('file'), '');
  });

  test.each([
    ['a folder', () => find('-o', at('folder'))],
    ['a folder that is not there', () => find('-o', at('new/'))],
    ['no name', () => find('-o', '')],
    ['a pipe', () => find('-o', at('pipe'))],
    ['a file as a folder', () => find('-o', at('file/cat.cones'))],
    ['a name that is too long', () => find('-o', at(`${longest('.cones')}x`))],
    ['a state in a folder', () => find('-o', at('cat.cones'), '--state', at('folder'))],
    ['a state in a folder that is not there', () => find('-o', at('cat.cones'), '--state', at('new/x.state'))],
    ['a state without a name', () => find('-o', at('cat.cones'), '--state', '')],
    ['a picture in a folder', () => generate('-o', at('folder.png'))],
    ['a picture in a pipe', () => generate('-o', at('pipe.png'))],
    ['a grid in a folder', () => generate('-o', at('folder.png'), '--grid', '--count', '2')],
    ['one of several pictures in a folder', () => generate('-o', at('many.png'), '--count', '3')],
    ['a name that is too long with a number', () => generate('-o', at(longest('.png')), '--count', '3')],
  ])('CONES_IO for %s', async (_, args) => {
    const before = readdirSync(outputs);
    const { code, stderr } = await runCli(args());
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/^error CONES_IO: [^\n]*cannot be written[^\n]*\n$/) });
    expect(readdirSync(outputs)).toEqual(before);
  });

  test.each([
    ['a concept', () => find('-o', at(longest('.cones')))],
    ['one picture', () => generate('-o', at(longest('.png')))],
    ['a grid', () => generate('-o', at('many.png'), '--grid', '--count', '3')],
  ])('a name that can be used gets as far as the model: %s', async (_, args) => {
    expect((await runCli(args())).stderr).toMatch(/^error CONES_MODEL_NOT_FOUND: /);
  });

  test('concept and search cannot be in one file', async () => {
    const { code, stderr } = await runCli(find('-o', at('both'), '--state', `${outputs}/../outputs/both`));
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringMatching(/^error CONES_OPTION_INVALID: .*--state/) });
  });

  test.each([
    ['a prompt', () => ['generate', 'cat '.repeat(20_000), '--model', 'nowhere']],
    ['seeds', () => generate('--grid', '--count', '4096', '--seed', String(2n ** 63n))],
    ['names of concepts', () => generate(...Array<string[]>(300).fill(['--concept', path.join(folder, 'named.cones')]).flat())],
  ])('%s that a JPEG or WebP file cannot hold', async (_, args) => {
    await conceptFile('named.cones', `V${'1'.repeat(250)}*`);
    for (const name of ['a.jpg', 'a.webp']) {
      const { code, stderr } = await runCli([...args(), '-o', at(name)]);
      expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringMatching(/^error CONES_OPTION_INVALID: The metadata is too long/) });
    }
    expect((await runCli([...args(), '-o', at('a.png')])).stderr).toMatch(/^error CONES_MODEL_NOT_FOUND: /);
  });
});

describe('inspect', () => {
  test('a pipe is refused, not waited for', async () => {
    const pipe = path.join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    expect(await runCli(['inspect', pipe])).toEqual({ code: 1, stdout: '', stderr: expect.stringMatching(/^error CONES_IO: /) });
  });

  test('a concept file is recognised by its content', async () => {
    const { code, stdout } = await runCli(['inspect', '--json', await conceptFile('cat.concept')]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ files: [{ kind: 'concept', neuronCount: 2 }], overlaps: [] });
  });

  test('a refined concept is told beside the union', async () => {
    const file = await conceptFile('refined.cones');
    const losses = { subject: 1, prior: 1 };
    const report = { loss: { untouched: losses, union: { subject: 0.25, prior: 0.5 }, shut: losses, random: losses }, sweep: [], pictures: null };
    await (await Concept.load(file)).with({ report }).save(file);
    expect((await runCli(['inspect', file])).stdout).toMatch(/^union of the concepts zeroed +0\.2500 +0\.5000$/m);
  });

  test('a damaged concept file and a file that is nothing are told apart', async () => {
    const damaged = path.join(folder, 'damaged.cones');
    const nothing = path.join(folder, 'nothing.png');
    writeFileSync(damaged, '');
    writeFileSync(nothing, 'text');
    expect((await runCli(['inspect', damaged])).stderr).toMatch(/^error CONES_CONCEPT_CORRUPT: /);
    expect((await runCli(['inspect', nothing])).stderr).toMatch(/^error CONES_IMAGE_INVALID: /);
  });

  test('control characters in a file cannot command the terminal', async () => {
    const file = path.join(folder, 'hostile.png');
    const prompt = 'a \u001b]0;title\u0007cat\u009b2J\nsecond line';
    writeFileSync(file, await encodeImage({ width: 1, height: 1, data: new Uint8Array(3) }, { format: 'png', metadata: { prompt } }));
    const text = await runCli(['inspect', file]);
    const json = await runCli(['inspect', file, '--json']);
    // eslint-disable-next-line no-control-regex
    for (const { stdout } of [text, json]) expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
    expect(text.stdout.trimEnd().split('\n')).toHaveLength(2);
    const { files } = JSON.parse(json.stdout) as { files: { metadata: { prompt: string } }[] };
    expect(files[0]!.metadata.prompt).toBe(prompt);
  });

  test('a picture without a history says so', async () => {
    const file = path.join(folder, 'plain.png');
    writeFileSync(file, await encodeImage({ width: 1, height: 1, data: new Uint8Array(3) }, { format: 'png' }));
    expect((await runCli(['inspect', file])).stdout).toBe(`${file}: says nothing about how it was made\n`);
  });
});

test('seeds keep all of their 64 bits; what is no seed is left for the engine to refuse', () => {
  expect(seed('18446744073709551615')).toBe(2n ** 64n - 1n);
  expect(seed('1.5')).toBe(1.5);
  expect(seed('')).toBeNaN();
});

test('durations say their unit', () => {
  const told = [0, 1_000, 1_249, 9_949, 9_950, 59_499, 59_500, 75_000, 3_599_499, 3_599_500, 36_061_000].map(duration);
  expect(told).toEqual(['0.0 s', '1.0 s', '1.2 s', '9.9 s', '10 s', '59 s', '1:00 min', '1:15 min', '59:59 min', '1:00:00 h', '10:01:01 h']);
});

test('tables: text to the left, numbers to the right, short rows allowed', () => {
  expect(table([['name', 'n'], ['a', '10', 'x'], ['long name']])).toEqual(['name        n', 'a          10  x', 'long name']);
  expect(table([])).toEqual([]);
});
