/** Writes a model in one file as a folder in diffusers layout. Numbers are copied as they are, a piece at a time. */
import { randomUUID } from 'node:crypto';
import { copyFile, cp, type FileHandle, mkdir, open, readdir, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ConesError } from '../../errors';
import { clipVocabulary } from '../../text/clip-vocabulary';
import { ioError } from '../../util/files';
import { brief } from '../../util/show';
import { loadModelConfig } from '..';
import { folderPath } from '../read-json';
import { tensorBytes } from '../weight-file';
import { type Part, readSingleModel, type SingleFileOptions } from '.';

const PIECE = 2 ** 22;

/**
 * @param folder is made; a folder that is there must be empty
 * @throws ConesError as loading the file does; CONES_OPTION_INVALID, CONES_IO
 */
export async function convertSingleFile(file: string, folder: string, options: SingleFileOptions = {}): Promise<void> {
  const [source, target] = [folderPath(file), folderPath(folder)];
  // What could not be loaded is not written either.
  await loadModelConfig(source, options);
  const model = await readSingleModel(source, options);
  const there = await readdir(target).catch((cause: NodeJS.ErrnoException) => (cause.code === 'ENOENT' ? undefined : Promise.reject(ioError(`${brief(target)} cannot be written`, cause))));
  if (there !== undefined && there.length > 0) throw new ConesError('CONES_OPTION_INVALID', `${brief(target)} is not empty: name a folder that is not there yet.`);
  const partial = `${target}.${randomUUID()}.tmp`;
  try {
    await mkdir(partial, { recursive: true });
    await writeJson(path.join(partial, 'model_index.json'), {
      _class_name: 'StableDiffusionPipeline',
      feature_extractor: [null, null],
      safety_checker: [null, null],
      requires_safety_checker: false,
      scheduler: ['diffusers', model.scheduler['_class_name'] ?? 'PNDMScheduler'],
      text_encoder: ['transformers', 'CLIPTextModel'],
      tokenizer: ['transformers', 'CLIPTokenizer'],
      unet: ['diffusers', 'UNet2DConditionModel'],
      vae: ['diffusers', 'AutoencoderKL'],
    });
    await writePart(path.join(partial, 'unet'), 'diffusion_pytorch_model', model.unet);
    await writePart(path.join(partial, 'vae'), 'diffusion_pytorch_model', model.vae);
    await writePart(path.join(partial, 'text_encoder'), 'model', model.text);
    // As they are: transformers tells 1.0, which JavaScript does not write, from 1.
    for (const part of options.config === undefined ? [] : ['unet', 'vae', 'text_encoder']) {
      await copyFile(path.join(path.resolve(options.config!), part, 'config.json'), path.join(partial, part, 'config.json'));
    }
    await writeJson(path.join(partial, 'scheduler', 'scheduler_config.json'), model.scheduler);
    const tokenizer = path.join(partial, 'tokenizer');
    if (options.config !== undefined) await cp(path.resolve(options.config, 'tokenizer'), tokenizer, { recursive: true, dereference: true });
    else await writeTokenizer(tokenizer, model.isSecond ? '!' : '<|endoftext|>');
    if (there !== undefined) await rmdir(target);
    await rename(partial, target);
  } catch (cause) {
    await rm(partial, { recursive: true, force: true });
    throw cause instanceof ConesError ? cause : ioError(`${brief(target)} cannot be written`, cause);
  }
}

async function writeJson(file: string, value: object): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, `${JSON.stringify(value, null, 2)}\n`);
}

async function writePart(folder: string, stem: string, { json, weights: { files, tensors } }: Part): Promise<void> {
  await writeJson(path.join(folder, 'config.json'), json);
  let end = 0;
  const header: Record<string, object> = { __metadata__: { format: 'pt' } };
  for (const { name, dtype, shape, ...rest } of tensors) header[name] = { dtype, shape, data_offsets: [end, (end += tensorBytes({ dtype, shape, ...rest }))] };
  const text = Buffer.from(JSON.stringify(header));
  // The numbers begin at a multiple of eight, as safetensors writes them.
  const padded = Buffer.concat([text, Buffer.alloc((8 - (text.length % 8)) % 8, ' ')]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  const source = await open(files[0]!, 'r');
  const out = await open(path.join(folder, `${stem}.safetensors`), 'wx');
  try {
    await out.write(Buffer.concat([length, padded]));
    for (const tensor of tensors) await copy(source, tensor.offset, tensorBytes(tensor), out);
    await out.sync();
  } finally {
    await Promise.all([source.close(), out.close()]);
  }
}

async function copy(source: FileHandle, offset: number, length: number, out: FileHandle): Promise<void> {
  const piece = Buffer.allocUnsafe(Math.min(PIECE, length));
  for (let done = 0; done < length; ) {
    const { bytesRead } = await source.read(piece, 0, Math.min(PIECE, length - done), offset + done);
    if (bytesRead === 0) throw new Error('the file that is converted has become shorter');
    await out.write(piece, 0, bytesRead);
    done += bytesRead;
  }
}

async function writeTokenizer(folder: string, pad: '<|endoftext|>' | '!'): Promise<void> {
  const { vocab, merges, bos, eos, maxLength } = await clipVocabulary(pad);
  const special = { bos_token: bos, eos_token: eos, unk_token: eos, pad_token: pad };
  await writeJson(path.join(folder, 'vocab.json'), vocab);
  await writeFile(path.join(folder, 'merges.txt'), ['#version: 0.2', ...merges.map((pair) => pair.join(' ')), ''].join('\n'));
  await writeJson(path.join(folder, 'special_tokens_map.json'), special);
  await writeJson(path.join(folder, 'tokenizer_config.json'), { ...special, add_prefix_space: false, do_lower_case: true, errors: 'replace', model_max_length: maxLength, tokenizer_class: 'CLIPTokenizer' });
}
