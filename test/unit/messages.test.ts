// Messages quote a line of what was given, whatever was given: no megabytes, no line ends, nothing that a terminal obeys.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Clip, Concept, ConesError, Engine, makeGrid, readMetadata, readPictureSettings, readSubject, saveImage } from '../../lib';
import { loadModelConfig, readUNetConfig } from '../../lib/models';
import { chooseConcepts, compareEngines } from '../../lib/engine/draw-again';
import { unnamedConcepts } from '../../lib/engine/prompt-warnings';
import type { PictureSettings } from '../../lib/images/picture-settings';
import { resolvePrompt } from '../../lib/text/prompt';
import { samplerSchedule } from '../../lib/diffusion/schedule';
import { readSchedulerConfig } from '../../lib/models/scheduler';
import { readTokenizerFiles } from '../../lib/text/tokenizer-files';
import { brief, shortened, visible } from '../../lib/util/show';
import { runCli } from '../cli-run';
import { conceptOf } from './concept-samples';

let folder: string;
beforeAll(() => void (folder = mkdtempSync(path.join(os.tmpdir(), 'cones-messages-'))));
afterAll(() => rmSync(folder, { recursive: true }));

function put(name: string, content: string): string {
  const file = path.join(folder, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, content);
  return file;
}

const LONG = 'x'.repeat(1 << 20);
const SPACES = ' '.repeat(1 << 19);
const HOSTILE = '\u001b[2J\u202e\u2066\u2028\u0085\n';
const PICTURE = { width: 1, height: 1, data: new Uint8Array(3) };

const CALLS: Record<string, (text: string) => unknown> = {
  'Engine.load': (text) => Engine.load(text),
  'Engine.load, option': (text) => Engine.load(folder, { [text]: 1 }),
  'Engine.load, value': (text) => Engine.load(folder, { device: text as 'cpu' }),
  'Clip.load': (text) => Clip.load(text),
  'Concept.load': (text) => Concept.load(text),
  'concept.save': (text) => conceptOf().save(`${text}/`),
  'concept.with': (text) => conceptOf().with({ [text]: 1 }),
  'Concept.create': (text) => conceptOf({ fingerprint: text }),
  'Concept.create, weights': (text) => conceptOf({ tensors: new Map([[text, { shape: [1], indices: new Uint32Array(2) }]]) }),
  'concept.assertBaseModel': (text) => conceptOf().assertBaseModel(text),
  readMetadata: (text) => readMetadata(text),
  'readMetadata, an address': (text) => readMetadata(`https://${text}`),
  readPictureSettings: (text) => readPictureSettings(text),
  'the settings of a picture': async (text) => {
    const file = path.join(folder, 'settings.png');
    await saveImage(file, PICTURE, { metadata: { prompt: 'a', seed: '1', steps: '1', guidance: '1', sampler: 'ddim', conceptHashes: text } });
    return readPictureSettings(file);
  },
  'the model of a picture': (text) => compareEngines({ ...SETTINGS, model: text }, { fingerprint: 'sha256:a', instructionSet: 'avx2' }),
  'the concepts of a picture': (text) => chooseConcepts({ ...SETTINGS, subjects: text, conceptHashes: ['sha256:a'] }, []),
  'a scheduler': async (text) => {
    const file = put('scheduler/scheduler_config.json', JSON.stringify({ timestep_type: text.slice(0, 1 << 19) }));
    return samplerSchedule('euler', await readSchedulerConfig(path.dirname(file)), { steps: 1, eta: undefined });
  },
  readSubject: (text) => readSubject(text),
  'readSubject, category': (text) => readSubject(folder, { category: text }),
  'saveImage, file': (text) => saveImage(text, PICTURE),
  'saveImage, folder': (text) => saveImage(`${text}/a.png`, PICTURE),
  'saveImage, metadata': (text) => saveImage('a.png', PICTURE, { metadata: { [text]: 'x' } }),
  'makeGrid': (text) => makeGrid([text as never]),
  'a config that is no JSON': (text) => readUNetConfig(path.dirname(put('a/config.json', text.slice(0, 1 << 19)))),
  'a key of a config': (text) => readUNetConfig(path.dirname(put('b/config.json', JSON.stringify({ [text.slice(0, 1 << 19)]: 1 })))),
  'a value of a config': (text) => readUNetConfig(path.dirname(put('c/config.json', JSON.stringify({ act_fn: text.slice(0, 1 << 19) })))),
  'a list in a config': (text) => readUNetConfig(path.dirname(put('d/config.json', JSON.stringify({ act_fn: [{ [text.slice(0, 1 << 19)]: text.slice(0, 99) }] })))),
  'an index': (text) => loadModelConfig(path.dirname(put('e/model_index.json', JSON.stringify({ unet: ['a', text.slice(0, 1 << 19)] })))),
  'a merge of a tokenizer': async (text) => {
    put('tokenizer/vocab.json', '{"a":1}');
    return readTokenizerFiles(path.dirname(put('tokenizer/merges.txt', `${text.replaceAll('\n', '')} b`)));
  },
  captions: (text) => readSubject(path.dirname((put('subject/1.png', ''), put('subject/captions.json', JSON.stringify({ category: text, captions: [5] }))))),
  'captions that are no JSON': (text) => readSubject(path.dirname((put('subject/1.png', ''), put('subject/captions.json', text)))),
  'a picture that is not read': (text) => readSubject(path.dirname(put(`raw/${nameFrom(text)}.bmp`, ''))),
  'a picture without a caption': (text) => readSubject(path.dirname((put('texts/1.png', ''), put('texts/1.txt', 'a cat'), put(`texts/${nameFrom(text)}.png`, ''))), { category: 'cat' }),
};

const SETTINGS = { conceptHashes: [], subjects: '', model: null, instructionSet: null, engine: null } as unknown as PictureSettings;

/** As much of a text as the name of a file may have. */
function nameFrom(text: string): string {
  return `a${text.slice(-60)}`;
}

const WARNINGS: Record<string, (text: string) => readonly { message: string }[]> = {
  'what looks like an identifier': (text) => resolvePrompt(`a <${text}> cat V${'1'.repeat(text.length)}*`, MANY).warnings,
  'what looks like a weight': (text) => resolvePrompt(`a (b${text.slice(0, 9000)}c:1.2)`, []).warnings,
  'a concept that is not named': (text) => unnamedConcepts([{ prompt: `${text} V1 V2 V3 V4 V5`, concepts: [conceptOf({ subjects: MANY })], named: [] }]),
  'a picture of another engine': (text) => compareEngines({ ...SETTINGS, engine: text, instructionSet: text }, { fingerprint: 'sha256:a', instructionSet: 'avx2' }),
};

const MANY = Array.from({ length: 64 }, (_, i) => ({ identifier: `V${i}*`, token: `t${i}`, category: 'cat' }));

test.each(Object.keys(WARNINGS))('a warning of %s', (name) => {
  for (const text of [LONG, SPACES + HOSTILE, HOSTILE.repeat(1e4)]) {
    const warnings = WARNINGS[name]!(text);
    expect(warnings.length).toBeGreaterThan(0);
    for (const { message } of warnings) expect(message).toMatch(/^.{1,1000}$/);
  }
});

test.each(Object.keys(CALLS))('%s', async (name) => {
  for (const text of [LONG, SPACES + HOSTILE, HOSTILE.repeat(1e4)]) {
    const error: unknown = await Promise.resolve().then(() => CALLS[name]!(text)).then(() => undefined, (thrown: unknown) => thrown);
    const { name: kind, message } = error as Error;
    expect([kind, message.slice(0, 1000)]).toEqual(['ConesError', message]);
    expect(message).toMatch(/^.+$/);
  }
});

test('whoever forgets is cut short all the same', () => {
  const { message } = new ConesError('CONES_IO', `${'a'.repeat(1e6)} cannot be read. Do this.`);
  expect(message.length).toBeLessThanOrEqual(2000);
  expect(message).toMatch(/^a{100}.* … .*cannot be read\. Do this\.$/);
});

test('what is shortened keeps its ends', () => {
  expect(shortened('abcdefghijklmnop', 12)).toBe('abcde … mnop');
  expect(shortened('abc', 3)).toBe('abc');
  expect(brief('/a path/of usual length.png')).toBe('/a path/of usual length.png');
});

describe('what a terminal obeys', () => {
  // Every character that reorders text (Unicode's Bidi_Control), and the controls of a terminal.
  const COMMANDS = ['\u061c', '\u200e', '\u200f', ...'\u202a\u202b\u202c\u202d\u202e', ...'\u2066\u2067\u2068\u2069', '\u0000', '\u001b', '\u007f', '\u009b', '\u2028', '\u2029', '\ud800'];

  test.each(COMMANDS)('%j is escaped', (command) => {
    expect(visible(`a${command}b`)).toBe(`a\\u${command.charCodeAt(0).toString(16).padStart(4, '0')}b`);
  });

  test('other texts are not', () => {
    for (const text of ['a\tb', 'Jörg', 'שלום', '🐱', 'e\u0301', '👩‍🎤']) expect(visible(text)).toBe(text);
  });

  test('comes from metadata of pictures, as text and as JSON', async () => {
    const prompt = 'a \u202etac\u2066 \u001b[2J';
    const file = path.join(folder, 'bidi.png');
    await saveImage(file, PICTURE, { metadata: { prompt } });
    const escaped = 'a \\u202etac\\u2066 \\u001b[2J';
    expect((await runCli(['inspect', file])).stdout).toContain(escaped);
    const { stdout } = await runCli(['inspect', file, '--json']);
    expect(stdout).toContain(escaped);
    expect((JSON.parse(stdout) as { files: { metadata: object }[] }).files[0]!.metadata).toEqual({ prompt });
  });
});
