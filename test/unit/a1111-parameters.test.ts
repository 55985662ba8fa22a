// A picture's `parameters` as stable-diffusion-webui reads them.
import sharp from 'sharp';
import { a1111Parameters, type A1111Settings } from '../../lib/images/a1111-parameters';
import { encodeImage } from '../../lib/images/images';

/** After parse_generation_parameters in its modules/infotext_utils.py. */
function parse(text: string): { prompt: string; negative: string; pairs: Record<string, string> } {
  const lines = text.trim().split('\n');
  const last = lines.pop()!;
  const pairs = [...last.matchAll(/\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)/g)].map(([, key, value]): [string, string] => [key!, value!]);
  expect(pairs.length).toBeGreaterThanOrEqual(3); // or else it is no line of parameters
  const at = lines.findIndex((line) => line.startsWith('Negative prompt:'));
  const [prompt, negative] = at < 0 ? [lines, []] : [lines.slice(0, at), lines.slice(at)];
  return { prompt: prompt.join('\n'), negative: negative.join('\n').replace(/^Negative prompt: ?/, ''), pairs: Object.fromEntries(pairs) };
}

const settings: A1111Settings = {
  ...{ prompt: 'a V1* cat: red, on\na beach', negativePrompt: 'ugly,\nblurry', promptSyntax: 'plain', seed: '18446744073709551615', sampler: 'dpm-solver-multistep', steps: 20 },
  ...{ guidance: 7.5, width: 128, height: 64, karras: false, engine: 'cones 0.1.0' },
};

test('everything comes back', () => {
  expect(parse(a1111Parameters(settings))).toEqual({
    prompt: settings.prompt,
    negative: settings.negativePrompt,
    pairs: { Steps: '20', Sampler: 'DPM++ 2M', 'CFG scale': '7.5', Seed: settings.seed, Size: '128x64', Version: 'cones 0.1.0' },
  });
});

test.each<[Partial<A1111Settings>, Record<string, string>]>([
  [{ sampler: 'ddim', eta: 0.25 }, { Sampler: 'DDIM', 'Eta DDIM': '0.25' }],
  [{ sampler: 'euler', karras: true }, { Sampler: 'Euler', 'Schedule type': 'Karras' }],
  [{ guidance: 0 }, { 'CFG scale': '1' }],
])('%j', (changes, pairs) => {
  expect(parse(a1111Parameters({ ...settings, ...changes })).pairs).toMatchObject(pairs);
});

test('there is no negative prompt where it is empty, and Karras says nothing to DDIM', () => {
  const text = a1111Parameters({ ...settings, negativePrompt: '', sampler: 'ddim', karras: true });
  expect(text).not.toMatch(/Negative prompt|Karras/);
});

test.each(['jpeg', 'webp'] as const)('%s files have them in the EXIF user comment', async (format) => {
  const parameters = a1111Parameters(settings);
  const file = await encodeImage({ width: 1, height: 1, data: new Uint8Array(3) }, { format, metadata: { parameters } });
  expect((await sharp(file).metadata()).exif!.includes(`ASCII\0\0\0${parameters}`)).toBe(true);
});
