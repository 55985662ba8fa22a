// What people load instead of a model: each is named, and the next step with it.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Concept, Engine } from '../../lib';
import { findPair } from '../../lib/analysis/alignment';
import { loadModelConfig } from '../../lib/models';
import { readJson } from '../../lib/models/read-json';
import { findWeights } from '../../lib/models/weights';

let folder: string;
beforeEach(() => void (folder = mkdtempSync(path.join(os.tmpdir(), 'cones-folder-'))));
afterEach(() => rmSync(folder, { recursive: true }));

function put(name: string, content: string | Buffer): string {
  const file = path.join(folder, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, content);
  return file;
}

async function failure(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'nothing',
    ({ code, message }: { code: string; message: string }) => `${code} ${message}`,
  );
}

const POINTER = `version https://git-lfs.github.com/spec/v1\noid sha256:${'ab'.repeat(32)}\nsize 3438167540\n`;
const PAGE = '\ufeff\n<!doctype html>\n<html><title>Sign in</title>';

describe('as the folder', () => {
  test('a name on the hub', async () => {
    const message = await failure(Engine.load('runwayml/stable-diffusion-v1-5'));
    expect(message).toMatch(/^CONES_MODEL_NOT_FOUND .*Hugging Face.*write hf:runwayml\/stable-diffusion-v1-5,/);
    // A path is none.
    for (const other of ['./models/x', '/models/x', 'a/b/c', 'models']) expect(await failure(Engine.load(other))).not.toContain('Hugging Face');
  });

  test.each(['sd.safetensors', 'SD.CKPT', 'readme.md'])('%s, which holds no weights', async (name) => {
    expect(await failure(Engine.load(put(name, 'x')))).toMatch(/^CONES_MODEL_NOT_FOUND .*neither a folder nor a file of weights/);
    expect(await failure(Engine.load(put(name, PAGE)))).toMatch(/^CONES_MODEL_NOT_FOUND .*web page/);
    expect(await failure(Engine.load(put(name, POINTER)))).toMatch(/^CONES_MODEL_NOT_FOUND .*Git LFS/);
  });
});

describe('as the model', () => {
  const INDEX = { unet: ['diffusers', 'UNet2DConditionModel'], vae: ['diffusers', 'AutoencoderKL'], text_encoder: ['transformers', 'CLIPTextModel'], tokenizer: ['transformers', 'CLIPTokenizer'] };

  test.each([
    [{ ...INDEX, _class_name: 'StableDiffusionXLPipeline' }, 'Stable Diffusion XL (SDXL)'],
    [{ ...INDEX, _class_name: 'StableDiffusionXLInpaintPipeline' }, 'Stable Diffusion XL (SDXL)'],
    [{ ...INDEX, text_encoder_2: ['transformers', 'CLIPTextModelWithProjection'] }, 'Stable Diffusion XL (SDXL)'],
    [{ _class_name: 'StableDiffusion3Pipeline', transformer: ['diffusers', 'SD3Transformer2DModel'] }, 'Stable Diffusion 3'],
    [{ _class_name: 'FluxPipeline' }, 'FLUX'],
    [{ transformer: ['diffusers', 'Transformer2DModel'] }, 'diffusion transformer'],
  ])('%j', async (index, name) => {
    put('model_index.json', JSON.stringify(index));
    const message = await failure(loadModelConfig(folder));
    expect(message).toMatch(/^CONES_CONFIG_UNSUPPORTED /);
    expect(message).toContain(name);
  });

  test('parts that are said not to be there are not', async () => {
    put('model_index.json', JSON.stringify({ ...INDEX, _class_name: 'StableDiffusionPipeline', text_encoder_2: [null, null], transformer: [null, null] }));
    expect(await failure(loadModelConfig(folder))).toMatch(/^CONES_MODEL_NOT_FOUND .*config\.json does not exist/);
  });
});

describe('as weights', () => {
  const NAME = 'model.safetensors';

  test.each([['a Git LFS pointer', POINTER, /Git LFS pointer.*git lfs pull.*hf download/], ['a web page', PAGE, /web page/], ['a checkpoint of PyTorch', 'PK\u0003\u0004archive', /ZIP archive.*safetensors/]])(
    '%s', async (_, content, message) => {
      put(NAME, content);
      expect(await failure(findWeights(folder, 'model'))).toMatch(new RegExp(`^CONES_SAFETENSORS_INVALID .*${NAME} holds no weights: .*${message.source}`));
      // A shard, too.
      rmSync(path.join(folder, NAME));
      put('a.safetensors', content);
      put('model.safetensors.index.json', '{"weight_map":{"w":"a.safetensors"}}');
      expect(await failure(findWeights(folder, 'model'))).toMatch(message);
    });

  test.each([NAME, 'model.fp16.safetensors', 'model.safetensors.index.json'])('a link of the hub whose blob is gone: %s', async (name) => {
    symlinkSync('../../blobs/00ff', path.join(folder, name));
    const message = await failure(findWeights(folder, 'model'));
    expect(message).toMatch(/^CONES_MODEL_NOT_FOUND .*is a link to \.\.\/\.\.\/blobs\/00ff, which is not there.*hf download/);
    expect(message).toContain(name);
  });

  test('a shard whose blob is gone', async () => {
    put('model.safetensors.index.json', '{"weight_map":{"w":"a.safetensors"}}');
    symlinkSync('nowhere', path.join(folder, 'a.safetensors'));
    expect(await failure(findWeights(folder, 'model'))).toMatch(/^CONES_MODEL_NOT_FOUND .*a\.safetensors is a link to nowhere/);
  });
});

describe('as other files', () => {
  test('a config', async () => {
    expect(await failure(readJson(put('config.json', POINTER)))).toMatch(/^CONES_CONFIG_INVALID .*Git LFS pointer/);
    expect(await failure(readJson(put('config.json', PAGE)))).toMatch(/^CONES_CONFIG_INVALID .*web page/);
    symlinkSync('nowhere', path.join(folder, 'link.json'));
    expect(await failure(readJson(path.join(folder, 'link.json')))).toMatch(/^CONES_MODEL_NOT_FOUND .*is a link to nowhere/);
  });

  test('a concept', async () => {
    expect(await failure(Concept.load(put('a.cones', POINTER)))).toMatch(/^CONES_CONCEPT_CORRUPT .*Git LFS pointer/);
  });
});

describe('the folder MODEL-clip', () => {
  const model = () => path.join(folder, 'model');

  test.each<[string, () => void]>([
    ['is not there', () => undefined],
    ['is empty', () => mkdirSync(path.join(folder, 'model-clip'))],
    ['is a file', () => void put('model-clip', 'x')],
    ['is another model', () => void put('model-clip/config.json', '{"model_type":"bert"}')],
    ['has a broken config', () => void put('model-clip/config.json', '{')],
  ])('is no pair when it %s', async (_, make) => {
    make();
    expect(await findPair(model(), undefined)).toBeNull();
  });

  test('that is a pair without its weights is an error, as is one that somebody named', async () => {
    put('model-clip/config.json', '{"model_type":"clip","text_config":{},"vision_config":{}}');
    expect(await failure(findPair(model(), undefined))).toMatch(/^CONES_MODEL_NOT_FOUND /);
    expect(await failure(findPair(model(), path.join(folder, 'missing')))).toMatch(/^CONES_MODEL_NOT_FOUND /);
  });
});
