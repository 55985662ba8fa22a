// Every reader of what others wrote takes twice as long for twice as much: counted in statements, not in seconds.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { crc32, deflateSync } from 'node:zlib';
import { PassThrough } from 'node:stream';
import type * as CliIo from '../../lib/cli/io';
import type * as ConceptFile from '../../lib/concept-file/container';
import type * as ConceptData from '../../lib/concept-file/data';
import type * as ExifMetadata from '../../lib/images/exif-metadata';
import type * as AdapterFile from '../../lib/adapters/file';
import type * as AdapterLayers from '../../lib/adapters/layers';
import type * as AdapterRead from '../../lib/adapters/read';
import type * as Captions from '../../lib/methods/shared/captions';
import type * as State from '../../lib/methods/shared/state';
import type * as ModelConfig from '../../lib/models';
import type * as Checkpoint from '../../lib/models/checkpoint';
import type * as SingleFile from '../../lib/models/single-file';
import type * as ReadJson from '../../lib/models/read-json';
import type * as HubFiles from '../../lib/models/hub/choose-files';
import type * as HubListing from '../../lib/models/hub/listing';
import type * as PngChunks from '../../lib/images/png-chunks';
import type * as OneSubject from '../../lib/text/one-subject';
import type * as Parameters from '../../lib/images/read-a1111-parameters';
import type * as AdapterTags from '../../lib/text/adapter-tags';
import type * as Chunks from '../../lib/text/chunks';
import type * as Emphasis from '../../lib/text/emphasis';
import type * as Prompt from '../../lib/text/prompt';
import type * as Lines from '../../lib/util/lines';
import type * as Show from '../../lib/util/show';
import type * as SubjectFolder from '../../lib/methods/shared/subject-folder';
import type * as TiffColours from '../../lib/images/tiff-colours';
import type * as TokenizerFiles from '../../lib/text/tokenizer-files';
import { ops, pickledTensor, writeSafetensors, zip } from '../checkpoints';
import { CountedLibrary, growth } from '../steps';

const library = new CountedLibrary();
let folder: string;
beforeAll(() => void (folder = mkdtempSync(path.join(os.tmpdir(), 'cones-growth-'))));
afterAll(() => rmSync(folder, { recursive: true }));

/** A file of the folder, written anew. */
function put(name: string, content: string | Buffer): string {
  const file = path.join(folder, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, content);
  return file;
}

/** What a reader refuses takes no longer than what it accepts. */
async function refused(work: () => unknown): Promise<void> {
  await Promise.resolve().then(work).catch((error: { code: string }) => expect(error.code).toMatch(/^CONES_/));
}

const list = (length: number, entry: (i: number) => string) => Array.from({ length }, (_, i) => entry(i)).join(',');
const lines = (length: number, entry: (i: number) => string) => Array.from({ length }, (_, i) => entry(i)).join('\n');

function pngOf(...chunks: readonly (readonly [string, Buffer])[]): Buffer {
  const parts = chunks.map(([type, data]) => {
    const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
    const [length, crc] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    crc.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, crc]);
  });
  return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), ...parts]);
}

function exifOf(entries: number, text: string): Buffer {
  const exif = Buffer.alloc(8 + 2 + entries * 12 + text.length);
  exif.write('II', 'latin1');
  exif.writeUInt32LE(8, 4);
  exif.writeUInt16LE(entries, 8);
  const last = 10 + (entries - 1) * 12;
  exif.writeUInt16LE(0x010e, last);
  exif.writeUInt16LE(2, last + 2);
  exif.writeUInt32LE(text.length, last + 4);
  exif.writeUInt32LE(10 + entries * 12, last + 8);
  exif.write(text, 10 + entries * 12, 'latin1');
  return exif;
}

function tiffOf(tags: number): Buffer {
  const tiff = Buffer.alloc(10 + tags * 12);
  tiff.write('II*', 'latin1');
  tiff.writeUInt32LE(8, 4);
  tiff.writeUInt16LE(tags, 8);
  for (let i = 0; i < tags; i++) {
    tiff.writeUInt16LE(i, 10 + i * 12);
    tiff.writeUInt16LE(3, 12 + i * 12);
    tiff.writeUInt32LE(1, 14 + i * 12);
  }
  return tiff;
}

function conceptData(tensors: number, neurons: number, spread: number) {
  return {
    fingerprint: 'f',
    subjects: Array.from({ length: 3 }, (_, i) => ({ identifier: `V${i}*`, token: 't', category: 'c', embedding: { dtype: 'float16' as const, values: new Float32Array(8) } })),
    method: 'm', steps: 1, engineVersion: '0',
    tensors: new Map(Array.from({ length: tensors }, (_, i) => [`t${i}`, { shape: [neurons, spread], indices: Uint32Array.from({ length: neurons }, (_, n) => n * spread) }])),
  };
}

const bytesOf = (data: ReturnType<typeof conceptData>) => finish(library.load<typeof ConceptFile>('lib/concept-file/container.ts').encodeConceptFile(data)).bytes;

function finish<T>(pieces: Generator<unknown, T>): T {
  for (;;) {
    const { done, value } = pieces.next();
    if (done) return value as T;
  }
}

const io = () => ({ stdout: new PassThrough().resume(), stderr: new PassThrough().resume(), signal: new AbortController().signal });

/** What reads, and an input of a given size. */
const READERS: Record<string, { size: number; work: (size: number) => unknown }> = {
  'a config of escaped quotes': json((n) => `{"a":"${'\\"'.repeat(n)}"}`),
  'a config with strings that do not end': json((n) => `{"a":${'"\\"'.repeat(n)}`),
  'a config of one string after another': json((n) => `{"a":[${list(n, () => '"a"')}]}`),
  'a config of infinities': json((n) => `{"a":[${list(n, () => '-Infinity')}]}`),
  'a config of brackets': json((n) => '['.repeat(n)),
  'a config of spaces': json((n) => `{${' '.repeat(n)}}`),
  'a config whose keys nobody knows': config('unet/config.json', (n) => `{${list(n, (i) => `"${i}": null`)},"x":1}`),
  'a config with a key of spaces': config('unet/config.json', (n) => `{"${' '.repeat(n)}":1}`),
  'a config with a value of spaces': config('unet/config.json', (n) => `{"act_fn":"${' '.repeat(n)}"}`),
  'a config with a value of many entries': config('unet/config.json', (n) => `{"act_fn":{${list(n, (i) => `"${i}":[${i}]`)}}}`),
  'a config with long lists': config('unet/config.json', (n) => `{"block_out_channels":[${list(n, () => '32')}]}`),
  'a scheduler with betas': config('scheduler/scheduler_config.json', (n) => `{"num_train_timesteps":${n},"trained_betas":[${list(n, () => '0.1')}]}`),
  'an index of shards': {
    size: 2000,
    work: async (n) => {
      put('unet/diffusion_pytorch_model.safetensors.index.json', `{"weight_map":{${list(n, (i) => `"w${i}":"a.safetensors"`)}}}`);
      put('unet/a.safetensors', '');
      put('unet/config.json', '{}');
      await library.load<typeof ModelConfig>('lib/models/index.ts').readUNetConfig(path.join(folder, 'unet'));
    },
  },
  'the names of files on a hub': { size: 2000, work: (n) => list(n, (i) => `a/../${i}\\`).split(',').forEach((name) => library.load<typeof HubListing>('lib/models/hub/listing.ts').isSafePath(name)) },
  'a long name of a file on a hub': { size: 2000, work: (n) => library.load<typeof HubListing>('lib/models/hub/listing.ts').isSafePath('a/'.repeat(n)) },
  'the files of a model on a hub': {
    size: 2000,
    work: (n) => {
      const { chooseFiles } = library.load<typeof HubFiles>('lib/models/hub/choose-files.ts');
      const paths = new Set(['model_index.json', 'unet/config.json', 'unet/diffusion_pytorch_model.safetensors.index.json', ...list(n, (i) => `unet/diffusion_pytorch_model-${i + 10_000}-of-${n}.safetensors`).split(',')]);
      return refused(() => chooseFiles('m', paths, { unet: ['diffusers', 'UNet2DConditionModel'] }));
    },
  },
  'a pickle of numbers': checkpoint((n) => Buffer.alloc(2 * n, 'N0')),
  'a pickle of marks': checkpoint((n) => Buffer.from('('.repeat(n) + '1'.repeat(n))),
  'a pickle of shared lists': checkpoint((n) => Buffer.from(`]q\0${'h\0h\0a0'.repeat(n)}0`)),
  'a pickle of texts': checkpoint((n) => Buffer.from('U\x01a0'.repeat(n))),
  'a pickle of names': checkpoint((n) => Buffer.from('ccollections\nOrderedDict\n0'.repeat(n))),
  'a checkpoint of tensors': checkpointOf((n) => zip([['a/data.pkl', ops.pickle(ops.dict(Array.from({ length: n }, (_, i) => [`w${i}`, pickledTensor('0', 'F32', [1])] as const)))], ['a/data/0', Buffer.alloc(4)]])),
  'a checkpoint of storages': checkpointOf((n) => zip([['a/data.pkl', ops.pickle(ops.dict(Array.from({ length: n }, (_, i) => [`w${i}`, pickledTensor(String(i), 'F32', [1])] as const)))], ...Array.from({ length: n }, (_, i) => [`a/data/${i}`, Buffer.alloc(4)] as const)])),
  'an archive whose end is hard to find': checkpointOf((n) => Buffer.concat([Buffer.from('PK\x03\x04'), Buffer.alloc(8 * n, 'PK\x05\x06')])),
  'a single file of many tensors': singleFile((i) => `model.diffusion_model.input_blocks.${i}.0.out_layers.3.weight`),
  'a LoRA of many layers': adapter((i) => `lora_unet_down_blocks_0_resnets_${i}_conv1`),
  "a LoRA in diffusers' names": adapter((i) => `unet.down_blocks.0.resnets.${i}.conv1`),
  'a LoRA of layers that nobody has': adapter((i) => `lora_unet_${i}`),
  'a single file of averaged weights': singleFile((i) => `model_ema.${i}`),
  'a tokenizer': tokenizer((n) => `{"<|startoftext|>":0,"<|endoftext|>":1,${list(n, (i) => `"a${i + 100_000}":${i + 100_000}`)}}`, () => '#version: 0.2\n'),
  'a tokenizer with merges': tokenizer(() => '{"<|startoftext|>":0,"<|endoftext|>":1,"ab":2}', (n) => lines(n, () => 'a b')),
  'a tokenizer with added tokens': {
    size: 1000,
    work: async (n) => {
      put('tokenizer/vocab.json', '{"<|startoftext|>":0,"<|endoftext|>":1}');
      put('tokenizer/merges.txt', '');
      put('tokenizer/added_tokens.json', `{${list(n, (i) => `"<t${i + 100_000}>":${i + 100_000}`)}}`);
      await library.load<typeof TokenizerFiles>('lib/text/tokenizer-files.ts').readTokenizerFiles(path.join(folder, 'tokenizer'));
      rmSync(path.join(folder, 'tokenizer/added_tokens.json'));
    },
  },
  'rare words': {
    size: 1000,
    work: async (n) => {
      put('identifiers.json', `{"identifiers":[${list(n, () => '"abc"')}]}`);
      await library.load<typeof Prompt>('lib/text/prompt.ts').readRareTokens(folder);
    },
  },
  'a concept of many neurons': concept((n) => conceptData(2, n, 40)),
  'a concept of dense neurons': concept((n) => conceptData(2, n, 1)),
  'a concept of far neurons': concept((n) => conceptData(2, n, 100_000)),
  'a concept of many weights': concept((n) => conceptData(Math.ceil(n / 4), 3, 3)),
  'a concept that a program makes': { size: 4000, work: (n) => library.load<typeof ConceptData>('lib/concept-file/data.ts').checkData(conceptData(2, n, 3)) },
  'the description of a photo': { size: 2000, work: (n) => library.load<typeof ExifMetadata>('lib/images/exif-metadata.ts').readExifDescription(exifOf(1, `a${'\0'.repeat(n)}b${'\0'.repeat(n)}`)) },
  'the prompts that a program writes, in small pieces': {
    size: 2000,
    work: async (n) => {
      for await (const line of library.load<typeof Lines>('lib/util/lines.ts').linesOf(Array.from({ length: n }, (_, i) => (i % 100 === 99 ? 'a\n' : 'a')))) expect(line).not.toBe('');
    },
  },
  'the tags of a photo': { size: 1000, work: (n) => library.load<typeof ExifMetadata>('lib/images/exif-metadata.ts').readExifDescription(exifOf(n, 'a')) },
  'the texts of a PNG': png((n) => pngOf(...Array.from({ length: n }, () => ['tEXt', Buffer.from('a\0b')] as const))),
  'the packed texts of a PNG': png((n) => pngOf(...Array.from({ length: n }, () => ['zTXt', Buffer.concat([Buffer.from('a\0\0'), deflateSync('b')])] as const))),
  'the profiles of a PNG': png((n) => pngOf(...Array.from({ length: n }, () => ['iCCP', Buffer.concat([Buffer.from('a\0\0'), deflateSync('b')])] as const))),
  'a saved search': {
    size: 2 ** 24,
    work: (n) => refused(() => finish(library.load<typeof State>('lib/methods/shared/state.ts').unpackState(Buffer.alloc(32), { device: 'cpu', precision: 'fp32' }, Buffer.concat([Buffer.from('CONESXI3'), Buffer.alloc(n)]), 'search'))),
  },
  'a folder of pictures with captions': {
    size: 400,
    work: async (n) => {
      const name = `subject-${n}`;
      for (let i = 0; i < n; i++) put(`${name}/${i}.png`, '');
      put(`${name}/captions.json`, `{"category":"cat","captions":[${list(n, () => '["a cat","cat"]')}]}`);
      await library.load<typeof SubjectFolder>('lib/methods/shared/subject-folder.ts').readSubject(path.join(folder, name));
    },
  },
  'a folder of pictures with text files': {
    size: 400,
    work: async (n) => {
      const name = `texts-${n}`;
      for (let i = 0; i < n; i++) {
        put(`${name}/${i}.png`, '');
        put(`${name}/${i}.txt`, 'a cat\ncat');
      }
      await library.load<typeof SubjectFolder>('lib/methods/shared/subject-folder.ts').readSubject(path.join(folder, name), { category: 'cat' });
    },
  },
  'captions of many lines': {
    size: 4000,
    work: async (n) => {
      put('lines/1.png', '');
      put('lines/1.txt', 'cat\n'.repeat(n));
      await library.load<typeof SubjectFolder>('lib/methods/shared/subject-folder.ts').readSubject(path.join(folder, 'lines'), { category: 'cat' });
    },
  },
  'the tags of a TIFF': { size: 2000, work: (n) => library.load<typeof TiffColours>('lib/images/tiff-colours.ts').tiffColourProblem(tiffOf(n)) },
  'a prompt of what looks like identifiers': { size: 2000, work: (n) => library.load<typeof Prompt>('lib/text/prompt.ts').resolvePrompt(list(n, (i) => `V${i}* <a${i}>`), []) },
  'a prompt of subjects to leave out': {
    size: 2000,
    work: (n) => {
      const subjects = ['V1*', 'V2*'].map((identifier) => ({ identifier, category: 'cat', token: 'x' }));
      library.load<typeof OneSubject>('lib/text/one-subject.ts').withoutSubjects(`${list(n, (i) => `a V${(i % 2) + 1}* cat and`)}${' '.repeat(n)}`, subjects, subjects.slice(1));
    },
  },
  'a prompt of brackets': { size: 2000, work: (n) => library.load<typeof Prompt>('lib/text/prompt.ts').resolvePrompt(`${'('.repeat(n)}a${'['.repeat(n)}`, []) },
  'a weighted prompt of brackets': { size: 2000, work: (n) => refused(() => emphasis().weighPieces([{ text: '('.repeat(n) }])) },
  'a weighted prompt of parts': { size: 2000, work: (n) => emphasis().weighPieces([{ text: `${'(['.repeat(30)}${'[a](b:1.2), \\( '.repeat(n)}` }]) },
  'a weighted prompt of numbers': { size: 2000, work: (n) => emphasis().weighPieces([{ text: `[a:${'1'.repeat(n)}:${' '.repeat(n)}${':1'.repeat(n)}` }]) },
  'a weighted prompt of capitals': { size: 2000, work: (n) => [emphasis().weighPieces([{ text: `${' '.repeat(n)}${'BREAK '.repeat(n)}` }]), emphasis().refuseAnd('ANDA '.repeat(n))] },
  'a weighted prompt of adapters': { size: 2000, work: (n) => refused(() => library.load<typeof AdapterTags>('lib/text/adapter-tags.ts').takeAdapterTags(`${'<lora:'.repeat(n)}${'<lora:a>'.repeat(n)}`)) },
  'a weighted prompt of many chunks': { size: 2000, work: (n) => library.load<typeof Chunks>('lib/text/chunks.ts').cutIntoChunks(Array.from({ length: n }, (_, i) => (i % 3 ? [{ id: i % 2, weight: 1, token: '' }] : 'BREAK')), { room: 75, comma: 1 }) },
  "another program's settings": parameters((n) => list(n, (i) => `a${i + 10_000}: "${i + 10_000}\\""`)),
  "another program's settings, without an end": parameters((n) => `"${'\\" '.repeat(n)}`),
  "another program's prompt": parameters((n) => `${'Negative prompt: a\n'.repeat(n)}Steps: 1, CFG scale: 1, Seed: 1`),
  'captions that all differ': { size: 2000, work: (n) => library.load<typeof Captions>('lib/methods/shared/captions.ts').listCaptions(Array.from({ length: n }, (_, i) => [`${i}`, `${-i}`])) },
  'texts in a terminal': { size: 4000, work: (n) => library.load<typeof CliIo>('lib/cli/io.ts').printLines(io(), Array.from({ length: n }, () => 'a\u202e\n')) },
  'JSON in a terminal': { size: 4000, work: (n) => library.load<typeof CliIo>('lib/cli/io.ts').printJson(io(), Array.from({ length: n }, () => 'a\u202e\n')) },
  'an error of many lines': { size: 4000, work: (n) => library.load<typeof Show>('lib/util/show.ts').oneLine(' \n'.repeat(n)) },
};

function emphasis() {
  return library.load<typeof Emphasis>('lib/text/emphasis.ts');
}

function parameters(text: (size: number) => string) {
  return { size: 1000, work: (n: number) => library.load<typeof Parameters>('lib/images/read-a1111-parameters.ts').readA1111Parameters(text(n)) };
}

function json(text: (size: number) => string) {
  return { size: 4000, work: (n: number) => refused(() => library.load<typeof ReadJson>('lib/models/read-json.ts').readJson(put('x.json', text(n)))) };
}

function config(name: string, text: (size: number) => string) {
  const part = path.dirname(name);
  return {
    size: 2000,
    work: (n: number) => {
      put(name, text(n));
      const { readUNetConfig, readSchedulerConfig } = library.load<typeof ModelConfig>('lib/models/index.ts');
      return refused(() => (part === 'unet' ? readUNetConfig : readSchedulerConfig)(path.join(folder, part)));
    },
  };
}

function checkpoint(body: (size: number) => Buffer) {
  return checkpointOf((n) => zip([['a/data.pkl', ops.pickle(body(n), Buffer.from('}'))]]));
}

function checkpointOf(bytes: (size: number) => Buffer) {
  return { size: 500, work: (n: number) => refused(() => library.load<typeof Checkpoint>('lib/models/checkpoint/index.ts').readCheckpoint(put('x.ckpt', bytes(n)))) };
}

/** The core of a model, and `name` as often as is asked for. */
function singleFile(name: (i: number) => string) {
  const core = ['model.diffusion_model.input_blocks.0.0.weight', 'model.diffusion_model.out.2.weight', 'first_stage_model.decoder.conv_in.weight', 'cond_stage_model.transformer.a'];
  const tensor = { dtype: 'F32', shape: [1, 4], bytes: Buffer.alloc(16) };
  return {
    size: 400,
    work: (n: number) => {
      const names = [...core, ...Array.from({ length: n }, (_, i) => name(i + 1))];
      const file = writeSafetensors(put('single.safetensors', ''), new Map(names.map((key) => [key, tensor])));
      return refused(() => library.load<typeof SingleFile>('lib/models/single-file/index.ts').readSingleModel(file, {}));
    },
  };
}

/** A LoRA of `n` layers for a model of as many, with a name per layer of `name`. */
function adapter(name: (i: number) => string) {
  return {
    size: 1000,
    work: (n: number) => {
      const all = Array.from({ length: n }, (_, i) => ({ part: 'unet' as const, name: `down_blocks.0.resnets.${i}.conv1.weight`, shape: [1, 1] }));
      const half = { dtype: 'F32', shape: [1, 1], bytes: Buffer.alloc(4) };
      const tensors = new Map(all.flatMap((_, i) => [[`${name(i)}.lora_down.weight`, half], [`${name(i)}.lora_up.weight`, half]] as const));
      const file = writeSafetensors(put('adapter.safetensors', ''), new Map(tensors));
      const { Layers } = library.load<typeof AdapterLayers>('lib/adapters/layers.ts');
      const { readAdapter } = library.load<typeof AdapterRead>('lib/adapters/read.ts');
      return refused(() => library.load<typeof AdapterFile>('lib/adapters/file.ts').withAdapterFile(file, (read) => readAdapter(read, new Layers(all), 4, undefined)));
    },
  };
}

function tokenizer(vocab: (size: number) => string, merges: (size: number) => string) {
  return {
    size: 1000,
    work: async (n: number) => {
      put('tokenizer/vocab.json', vocab(n));
      put('tokenizer/merges.txt', merges(n));
      await library.load<typeof TokenizerFiles>('lib/text/tokenizer-files.ts').readTokenizerFiles(path.join(folder, 'tokenizer'));
    },
  };
}

function concept(data: (size: number) => ReturnType<typeof conceptData>) {
  return {
    size: 4000,
    work: (n: number) => {
      const { decodeConceptFile } = library.load<typeof ConceptFile>('lib/concept-file/container.ts');
      expect(finish(decodeConceptFile(bytesOf(data(n)))).tensors.size).toBeGreaterThan(0);
    },
  };
}

function png(file: (size: number) => Buffer) {
  return {
    size: 500,
    work: (n: number) => {
      const { readTexts, withoutTexts } = library.load<typeof PngChunks>('lib/images/png-chunks.ts');
      const bytes = file(n);
      readTexts(bytes);
      withoutTexts(bytes);
    },
  };
}

test.each(Object.entries(READERS))('%s', async (_, { size, work }) => {
  expect(await growth(library, size, work)).toBeLessThanOrEqual(2.1);
});

test('what grows faster is seen', async () => {
  const quadratic = (n: number) => Array.from({ length: n }, (_, i) => Array.from({ length: n }, (_, k) => k).includes(n + i));
  expect(await growth(library, 500, quadratic)).toBeGreaterThan(3.9);
  const { oneLine } = library.load<typeof Show>('lib/util/show.ts');
  expect(await growth(library, 100, (n) => Array.from({ length: n }, () => oneLine('a\n'.repeat(n))))).toBeGreaterThan(3.5);
});
