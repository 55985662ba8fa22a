// AutoencoderTiny, and AsymmetricAutoencoderKL without a mask, against diffusers (scripts/golden/other_vae.py).
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Engine, type Preview } from '../../lib';
import { Golden } from '../goldens/golden';

const models = path.join(__dirname, '../goldens/models');

let folder: string;
/** The model of `pipeline` with another autoencoder. */
async function load(name: string, change: (config: Record<string, unknown>) => object = (config) => config): Promise<Engine> {
  const root = path.join(folder, String(Math.random()));
  cpSync(path.join(models, 'pipeline'), root, { recursive: true });
  cpSync(path.join(models, name, 'vae'), path.join(root, 'vae'), { recursive: true });
  const index = JSON.parse(readFileSync(path.join(root, 'model_index.json'), 'utf8')) as Record<string, unknown>;
  const config = JSON.parse(readFileSync(path.join(root, 'vae/config.json'), 'utf8')) as Record<string, unknown>;
  writeFileSync(path.join(root, 'model_index.json'), JSON.stringify({ ...index, vae: ['diffusers', config['_class_name']] }));
  writeFileSync(path.join(root, 'vae/config.json'), JSON.stringify(change(config)));
  return Engine.load(root, { threads: 1 });
}
beforeAll(() => void (folder = mkdtempSync(path.join(os.tmpdir(), 'cones-vae-'))));
afterAll(() => rmSync(folder, { recursive: true }));

/** [B, C, H, W] → [B, H, W, C], or back. */
function permute(data: ArrayLike<number>, [batch, channels, height, width]: readonly number[], toLast: boolean): Float32Array {
  const [b, c, pixels] = [batch!, channels!, height! * width!];
  const out = new Float32Array(data.length);
  for (let n = 0; n < b; n++) {
    for (let k = 0; k < c; k++) {
      for (let p = 0; p < pixels; p++) {
        const [first, last] = [(n * c + k) * pixels + p, (n * pixels + p) * c + k];
        out[toLast ? last : first] = data[toLast ? first : last]!;
      }
    }
  }
  return out;
}

test.each(['vae-tiny', 'vae-asymmetric'])('%s encodes and decodes as diffusers', async (name) => {
  const golden = new Golden(path.join(models, name));
  await using engine = await load(name);
  const [batch, , height, width] = golden.shape('image') as [number, number, number, number];
  const moments = await engine.encodeImage({ data: permute(golden.data('image'), golden.shape('image'), true), shape: [batch, height, width, 3] });
  const each = moments.data.length / batch;
  // AutoencoderTiny has no variance: the least that there is.
  const tiny = name === 'vae-tiny';
  if (tiny) for (let b = 0; b < batch; b++) expect(new Set(moments.data.subarray((b + 0.5) * each, (b + 1) * each))).toEqual(new Set([-30]));
  const encoded = tiny ? Float32Array.from({ length: moments.data.length / 2 }, (_, i) => moments.data[Math.floor(i / (each / 2)) * each + (i % (each / 2))]!) : moments.data;
  expect(golden.judge('encoded', encoded)).toMatchObject({ ok: true });

  const scale = tiny ? 1 : 0.18215;
  const latents = { data: Float32Array.from(golden.data('latents'), (value) => value * scale), shape: golden.shape('latents') as [number, number, number, number] };
  const pixels = await engine.decode(latents);
  const [b, h, w] = [latents.shape[0], height, width];
  expect(golden.judge('decoded', permute(pixels, [b, 3, h, w], false))).toMatchObject({ ok: true });
});

test('pictures are drawn, and drawn from, with AutoencoderTiny', async () => {
  await using engine = await load('vae-tiny');
  const { images } = await engine.generate({ prompt: 'a cat', steps: 2, seed: 1, width: 64, height: 40 });
  expect([images[0]!.width, images[0]!.height]).toEqual([64, 40]);
  const again = await engine.generate({ prompt: 'a cat', steps: 4, seed: 1, width: 64, height: 40, image: images[0]!, strength: 0.5, posterior: 'sample' });
  const mode = await engine.generate({ prompt: 'a cat', steps: 4, seed: 1, width: 64, height: 40, image: images[0]!, strength: 0.5 });
  // It has nothing to take a sample of.
  expect(Math.max(...again.images[0]!.data.map((value, i) => Math.abs(value - mode.images[0]!.data[i]!)))).toBeLessThanOrEqual(1);
});

describe('for drafts', () => {
  const PIPELINE = path.join(models, 'pipeline');
  const drafts = path.join(models, 'vae-tiny', 'vae');
  const drawing = { prompt: 'a cat', steps: 5, seed: 1, width: 64, height: 40 };

  test('a picture is what it decodes, and drawn again from its file', async () => {
    await using engine = await Engine.load(PIPELINE, { threads: 1, drafts });
    await using whole = await load('vae-tiny');
    const { latents } = await engine.generate({ ...drawing, output: 'latents' });
    const { images } = await engine.generate({ ...drawing, decoder: 'drafts' });
    const pixels = await whole.decode(latents!);
    expect(images[0]!.data).toEqual(Uint8Array.from(Uint8ClampedArray.from(pixels, (value) => (value + 1) * 127.5)));
    expect((await engine.generate(drawing)).images[0]!.data).not.toEqual(images[0]!.data);
    expect((await engine.drawAgain(await images[0]!.toBuffer())).images[0]!.data).toEqual(images[0]!.data);
  });

  test('previews are whole pictures, all shown before the result is there; memory as planned', async () => {
    const previews: Preview[] = [];
    const options = { ...drawing, count: 2, batchSize: 2, previewEvery: 2, onPreview: (preview: Preview) => void previews.push(preview) };
    await using engine = await Engine.load(PIPELINE, { threads: 1, drafts });
    const plan = engine.planGenerate({ count: 2, batchSize: 2, width: 64, height: 40, previews: true });
    const { images } = await engine.generate({ ...options, decoder: 'drafts' });
    // PNDM takes its second step twice.
    expect(previews.map(({ step, index }) => [step, index])).toEqual([2, 4, 6].flatMap((step) => [[step, 0], [step, 1]]));
    expect(new Set(previews.map(({ image }) => `${image.width} x ${image.height}`))).toEqual(new Set(['64 x 40']));
    expect(images.map(({ width }) => width)).toEqual([64, 64]);
    expect(engine.memory().peak).toBeLessThanOrEqual(plan.peak);
    previews.length = 0;
    const ended = await engine.generate({ ...options, sampler: 'euler', decoder: 'drafts' });
    expect(previews.slice(-2).map(({ image }) => image.data)).toEqual(ended.images.map(({ data }) => data));
  });

  test('what throws in a preview ends the call', async () => {
    await using engine = await Engine.load(PIPELINE, { threads: 1, drafts });
    const onPreview = () => {
      throw new Error('enough');
    };
    await expect(engine.generate({ ...drawing, onPreview })).rejects.toThrow('enough');
  });

  test('is refused where the latents are others, or there is none', async () => {
    await expect(Engine.load(PIPELINE, { drafts: path.join(models, 'vae-small', 'vae') })).rejects.toMatchObject({ code: 'CONES_CONFIG_UNSUPPORTED' });
    await expect(Engine.load(PIPELINE, { drafts: path.join(models, 'vae-asymmetric', 'vae') })).rejects.toMatchObject({ code: 'CONES_CONFIG_INVALID' });
    await expect(Engine.load(PIPELINE, { drafts: path.join(models, 'nowhere') })).rejects.toMatchObject({ code: 'CONES_MODEL_NOT_FOUND' });
    await using engine = await Engine.load(PIPELINE, { threads: 1 });
    await expect(engine.generate({ ...drawing, decoder: 'drafts' })).rejects.toMatchObject({ code: 'CONES_OPTION_INVALID' });
  });
});

test.each([
  ['another activation', 'vae-tiny', { act_fn: 'gelu' }, 'CONES_CONFIG_UNSUPPORTED'],
  ['fewer levels here than there', 'vae-tiny', { num_decoder_blocks: [1, 1] }, 'CONES_CONFIG_INVALID'],
  ['channels that do not fit', 'vae-tiny', { encoder_block_out_channels: [8, 8, 8, 16] }, 'CONES_CONFIG_INVALID'],
  ['other blocks than there are', 'vae-tiny', { num_encoder_blocks: [1, 1, 1, 2] }, 'CONES_TENSOR_MISSING'],
  ['another decoder', 'vae-asymmetric', { layers_per_up_block: 1 }, 'CONES_TENSOR_UNEXPECTED'],
  ['groups that do not fit', 'vae-asymmetric', { norm_num_groups: 5 }, 'CONES_CONFIG_INVALID'],
])('%s is refused', async (_, name, change, code) => {
  await expect(load(name, (config) => ({ ...config, ...change }))).rejects.toMatchObject({ code });
});
