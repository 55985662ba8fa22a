// Readers in TypeScript, fed with inputs that coverage leads on. `npm run fuzz` gives them minutes, here they get a fixed number of inputs.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type * as TokenizerFiles from '../../lib/text/tokenizer-files';
import type * as Prompt from '../../lib/text/prompt';
import type * as SubjectFolder from '../../lib/methods/shared/subject-folder';
import type { CountedLibrary } from '../steps';
import { mulberry32 } from '../unit/concept-samples';
import { fuzz, type Target } from './guided/loop';

const seconds = Number(process.env['CONES_FUZZ_SECONDS'] ?? 0);
const INPUTS = 100;

const folder = mkdtempSync(path.join(os.tmpdir(), 'cones-guided-'));
afterAll(() => rmSync(folder, { recursive: true }));

const MODEL = path.join(__dirname, '../goldens/models/pipeline');
const stored = (file: string) => readFileSync(path.join(MODEL, file), 'utf8');

/** Readers answer with what they read or with a ConesError; anything else is a finding. */
async function refused(work: () => unknown): Promise<void> {
  try {
    await work();
  } catch (error) {
    const { code } = Object(error) as { code?: unknown };
    if (typeof code !== 'string' || !code.startsWith('CONES_') || code === 'CONES_INTERNAL') throw error;
  }
}

function config(part: string, module: string, reader: string): Target {
  mkdirSync(path.join(folder, part), { recursive: true });
  const name = part === 'scheduler' ? 'scheduler_config.json' : 'config.json';
  writeFileSync(path.join(folder, part, 'diffusion_pytorch_model.safetensors'), '');
  writeFileSync(path.join(folder, part, 'model.safetensors'), '');
  return {
    seeds: [stored(`${part}/${name}`)],
    words: [...new Set(stored(`${part}/${name}`).match(/"[^"]*"/g))],
    read: (input, library) => {
      writeFileSync(path.join(folder, part, name), input);
      return refused(() => library.load<Record<string, (of: string) => unknown>>(module)[reader]!(path.join(folder, part)));
    },
  };
}

const cat = { identifier: 'V1*', token: 'sks', category: 'cat' };
const TARGETS: Record<string, Target> = {
  'config of a UNet': config('unet', 'lib/models/unet.ts', 'readUNetConfig'),
  'config of an autoencoder': config('vae', 'lib/models/vae.ts', 'readVaeConfig'),
  'config of a text encoder': config('text_encoder', 'lib/models/text-encoder.ts', 'readTextConfig'),
  'config of a scheduler': config('scheduler', 'lib/models/scheduler.ts', 'readSchedulerConfig'),
  prompt: {
    seeds: ['a V1* cat', '((a:1.2) [b|c] <lora:x:1>', 'V9* <toy>'],
    words: ['V1*', '<', '>', '(', ')', ':1.2', '<lora:', '[', ']', '{{', 'é'],
    read: (input, library: CountedLibrary) => refused(() => library.load<typeof Prompt>('lib/text/prompt.ts').resolvePrompt(input, [cat])),
  },
  'captions of a folder': {
    seeds: ['{"category":"cat","captions":["a cat"]}', '["a cat"]'],
    words: ['"category"', '"captions"', '"V1*"', ','],
    read: (input, library) => {
      mkdirSync(path.join(folder, 'subject'), { recursive: true });
      writeFileSync(path.join(folder, 'subject/1.png'), '');
      writeFileSync(path.join(folder, 'subject/captions.json'), input);
      return refused(() => library.load<typeof SubjectFolder>('lib/methods/shared/subject-folder.ts').readSubject(path.join(folder, 'subject')));
    },
  },
  'files of a tokenizer': {
    seeds: ['{"a":0,"b":1,"<|startoftext|>":2,"<|endoftext|>":3}'],
    words: ['"<|startoftext|>"', '"<|endoftext|>"', '"a</w>"', ':1'],
    read: (input, library) => {
      mkdirSync(path.join(folder, 'tokenizer'), { recursive: true });
      writeFileSync(path.join(folder, 'tokenizer/vocab.json'), input);
      writeFileSync(path.join(folder, 'tokenizer/merges.txt'), '#version: 0.2\n');
      return refused(() => library.load<typeof TokenizerFiles>('lib/text/tokenizer-files.ts').readTokenizerFiles(path.join(folder, 'tokenizer')));
    },
  },
};

test.each(Object.entries(TARGETS))('%s', async (_, target) => {
  const end = performance.now() + (1000 * seconds) / Object.keys(TARGETS).length;
  const { tried, kept } = await fuzz(target, mulberry32(20261128), (n) => (seconds > 0 ? performance.now() < end : n < INPUTS));
  if (seconds > 0) console.log(`${tried} inputs, of which ${kept} reached something new`);
  // Without counters nothing would be new but the first.
  expect(kept).toBeGreaterThan(target.seeds.length);
}, 60_000 + 2000 * seconds);

test('coverage leads to what chance does not find', async () => {
  const module = path.join(folder, 'maze.ts');
  writeFileSync(module, `export const walk = (text: string): void => {
    if (text[0] === 'm') if (text[1] === 'a') if (text[2] === 'z') if (text[3] === 'e') throw new Error('found');
  };`);
  const file = path.relative(path.join(__dirname, '../..'), module);
  const maze: Target = { seeds: ['....'], words: [], read: (input, library) => library.load<{ walk: (text: string) => void }>(file).walk(input) };
  await expect(fuzz(maze, mulberry32(7), (n) => n < 100_000)).rejects.toThrow(/"maze.*is a finding/);
});
