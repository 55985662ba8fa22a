// Pictures of stable-diffusion-webui: what their files say, as options.
import sharp from 'sharp';
import { a1111Parameters } from '../../lib/images/a1111-parameters';
import { encodeImage, readMetadata } from '../../lib/images/images';
import { readPictureSettings } from '../../lib/images/picture-settings';
import { readA1111Parameters } from '../../lib/images/read-a1111-parameters';

/** The example of parse_generation_parameters in its modules/infotext_utils.py, shortened. */
const EXAMPLE = [
  "girl with an artist's beret, ((eyeshadow)), intricate",
  'Negative prompt: ugly, (((deformed))), [blurry]',
  'Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 965400086, Size: 512x512, Model hash: 45dee52b',
].join('\n');

const read = (line: string) => readA1111Parameters(`a cat\n${line}`);
const REST = 'CFG scale: 7.5, Seed: 1, Size: 64x128';

test('its own example', () => {
  expect(readA1111Parameters(EXAMPLE)).toEqual({
    prompt: "girl with an artist's beret, ((eyeshadow)), intricate", negativePrompt: 'ugly, (((deformed))), [blurry]', promptSyntax: 'weighted',
    ...{ seed: 965400086n, steps: 20, guidance: 7, sampler: 'euler-ancestral', width: 512, height: 512, ignored: ['Model hash: 45dee52b'] },
  });
});

test('prompts of several lines', () => {
  const { prompt, negativePrompt } = readA1111Parameters(`a cat,\n on a mat\nNegative prompt: ugly,\nblurry\nSteps: 1, ${REST}`)!;
  expect([prompt, negativePrompt]).toEqual(['a cat,\non a mat', 'ugly,\nblurry']);
});

test.each<[string, object]>([
  ['Sampler: DPM++ 2M Karras', { sampler: 'dpm-solver-multistep', useKarrasSigmas: true, ignored: [] }],
  ['Sampler: DPM++ 2M', { sampler: 'dpm-solver-multistep', useKarrasSigmas: false, ignored: [] }],
  ['Sampler: DPM++ 2M, Schedule type: Karras', { sampler: 'dpm-solver-multistep', useKarrasSigmas: true, ignored: [] }],
  ['Sampler: DPM++ 2M, Schedule type: Automatic', { sampler: 'dpm-solver-multistep', useKarrasSigmas: true, ignored: [] }],
  ['Sampler: Euler, Schedule type: Automatic', { sampler: 'euler', useKarrasSigmas: false, ignored: [] }],
  ['Sampler: Euler, Schedule type: SGM Uniform', { sampler: 'euler', useKarrasSigmas: false, ignored: ['Schedule type: SGM Uniform'] }],
  ['Sampler: DPM++ 2M SDE, Schedule type: Automatic', { sampler: 'dpm-solver-multistep-sde', useKarrasSigmas: false, ignored: ['Schedule type: Automatic'] }],
  ['Sampler: DDIM, Eta DDIM: 0.5', { sampler: 'ddim', eta: 0.5, ignored: [] }],
  ['Sampler: DPM adaptive', { ignored: ['Sampler: DPM adaptive'] }],
  ['Denoising strength: 0.7, Clip skip: 2, Lora hashes: "a: 1, b: 2", Hires upscale: 2, Version: v1.9.4', { ignored: ['Denoising strength: 0.7', 'Clip skip: 2', 'Lora hashes: "a: 1, b: 2"', 'Hires upscale: 2'] }],
])('%s', (pairs, expected) => {
  const common = { prompt: 'a cat', negativePrompt: '', promptSyntax: 'weighted', seed: 1n, steps: 5, guidance: 7.5, width: 64, height: 128 };
  expect(read(`Steps: 5, ${REST}, ${pairs}`)).toEqual({ ...common, ...expected });
});

test.each(['', 'a cat', 'Steps: 5, Seed: 1', `Steps: many, ${REST}`, 'Steps: 1, CFG scale: 7, Seed: -1', 'Steps: 1, CFG scale: 1e9, Seed: 1', `Steps: 1, ${REST}, "${'\\"'.repeat(2 ** 16)}`])('text %# says nothing', (line) => {
  expect(read(line)).toBeUndefined();
});

test('what cones writes comes back, brackets of plain text as text', () => {
  const settings = { prompt: 'a (cat:1.3)', negativePrompt: '[x]', seed: '7', sampler: 'euler' as const, steps: 3, guidance: 2, width: 64, height: 64, karras: true, engine: 'cones 1' };
  const expected = { seed: 7n, sampler: 'euler', steps: 3, guidance: 2, useKarrasSigmas: true, width: 64, height: 64, ignored: [] };
  expect(readA1111Parameters(a1111Parameters({ ...settings, promptSyntax: 'weighted' }))).toMatchObject({ ...expected, prompt: 'a (cat:1.3)', negativePrompt: '[x]' });
  expect(readA1111Parameters(a1111Parameters({ ...settings, promptSyntax: 'plain' }))).toMatchObject({ ...expected, prompt: 'a \\(cat:1.3\\)', negativePrompt: '\\[x\\]' });
});

describe('in files', () => {
  const dot = { width: 1, height: 1, data: new Uint8Array(3) };
  const expected = { options: { prompt: expect.stringMatching(/^girl/) as string, promptSyntax: 'weighted', seed: 965400086n, count: 1 }, ignored: ['Model hash: 45dee52b'], model: null, conceptHashes: [] };

  test('PNG', async () => {
    expect(await readPictureSettings(await encodeImage(dot, { format: 'png', metadata: { parameters: EXAMPLE } }))).toMatchObject(expected);
  });

  /** As piexif writes it: Exif IFD alone, big-endian, "UNICODE" and UTF-16. */
  function exifOf(comment: Buffer): Buffer {
    const exif = Buffer.alloc(44 + comment.length);
    exif.write('MM\0*', 'latin1');
    exif.writeUInt32BE(8, 4);
    exif.writeUInt16BE(1, 8);
    [[0x8769, 10], [4, 12]].forEach(([value, at]) => exif.writeUInt16BE(value!, at));
    exif.writeUInt32BE(1, 14);
    exif.writeUInt32BE(26, 18);
    exif.writeUInt16BE(1, 26);
    [[0x9286, 28], [7, 30]].forEach(([value, at]) => exif.writeUInt16BE(value!, at));
    exif.writeUInt32BE(comment.length, 32);
    exif.writeUInt32BE(44, 36);
    comment.copy(exif, 44);
    return exif;
  }
  async function jpegWith(comment: Buffer): Promise<Buffer> {
    const jpeg = await sharp({ create: { width: 1, height: 1, channels: 3, background: 'red' } }).jpeg().toBuffer();
    const body = Buffer.concat([Buffer.from('Exif\0\0', 'latin1'), exifOf(comment)]);
    const head = Buffer.from([0xff, 0xe1, (body.length + 2) >> 8, (body.length + 2) & 255]);
    return Buffer.concat([jpeg.subarray(0, 2), head, body, jpeg.subarray(2)]);
  }
  const unicode = (text: Buffer) => Buffer.concat([Buffer.from('UNICODE\0', 'latin1'), text]);

  test.each<[string, Buffer]>([
    ['UTF-16, big end first', unicode(Buffer.from(EXAMPLE, 'utf16le').swap16())],
    ['UTF-16, little end first', unicode(Buffer.from(EXAMPLE, 'utf16le'))],
    ['ASCII', Buffer.from(`ASCII\0\0\0${EXAMPLE}`, 'latin1')],
  ])('JPEG, %s', async (_, comment) => {
    expect(await readPictureSettings(await jpegWith(comment))).toMatchObject(expected);
  });

  test('a comment of something else is none, and a damaged one neither', async () => {
    expect(await readMetadata(await jpegWith(unicode(Buffer.from('a photo', 'utf16le').swap16())))).toEqual({});
    const jpeg = await jpegWith(Buffer.from(`ASCII\0\0\0${EXAMPLE}`, 'latin1'));
    for (let i = 30; i < 80; i++) {
      const damaged = Buffer.from(jpeg);
      damaged[i] = 255;
      await readMetadata(damaged).catch((error: { code?: string }) => expect(error.code).toBe('CONES_IMAGE_INVALID'));
    }
  });
});
