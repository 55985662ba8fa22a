/** A model's folder with another UNet, as DreamBooth leaves it: what is the same is copied. */
import { randomUUID } from 'node:crypto';
import { constants, copyFile, lstat, mkdir, readdir, realpath, rename, rm, rmdir } from 'node:fs/promises';
import path from 'node:path';
import { ConesError } from '../../errors';
import { ioError } from '../../util/files';
import { brief } from '../../util/show';
import { type FloatTensor, writeSafetensors } from '../../util/write-safetensors';

/** What a pipeline in diffusers layout needs of its folder. */
const PARTS = ['scheduler', 'text_encoder', 'tokenizer', 'vae'] as const;
const FILES = ['model_index.json', 'identifiers.json'] as const;

/** @throws ConesError CONES_OPTION_INVALID, CONES_IO */
export async function writeDreamboothFolder(model: string, folder: string, weights: ReadonlyMap<string, FloatTensor>): Promise<void> {
  const source = await lstat(model).catch(() => undefined);
  if (source?.isFile()) {
    throw new ConesError('CONES_OPTION_INVALID', `${brief(model)} is a model in one file: convert it (cones convert) and train with the folder, so that the rest of the model can be copied.`);
  }
  const target = path.resolve(folder);
  const partial = `${target}.${randomUUID()}.tmp`;
  try {
    const there = await readdir(target).catch((cause: NodeJS.ErrnoException) => (cause.code === 'ENOENT' ? undefined : Promise.reject(cause)));
    if (there !== undefined && there.length > 0) throw new ConesError('CONES_OPTION_INVALID', `${brief(folder)} is not empty: name a folder that is not there yet.`);
    await mkdir(path.join(partial, 'unet'), { recursive: true });
    for (const part of PARTS) await copyTree(path.join(model, part), path.join(partial, part));
    for (const file of FILES) await copyIfThere(path.join(model, file), path.join(partial, file));
    await copyOne(path.join(model, 'unet', 'config.json'), path.join(partial, 'unet', 'config.json'));
    await writeSafetensors(path.join(partial, 'unet', 'diffusion_pytorch_model.safetensors'), weights);
    if (there !== undefined) await rmdir(target);
    await rename(partial, target);
  } catch (cause) {
    await rm(partial, { recursive: true, force: true }).catch(() => undefined);
    throw cause instanceof ConesError ? cause : ioError(`${brief(folder)} cannot be written`, cause);
  }
}

async function copyTree(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, copy] = [path.join(from, entry.name), path.join(to, entry.name)];
    if (entry.isDirectory()) await copyTree(source, copy);
    else await copyOne(source, copy);
  }
}

/**
 * A copy, of shared blocks where the file system can. Not a hard link, which would change the model's own file (its ctime): engines that
 * have it loaded would take it for written to. Of what a link leads to (the hub's cache) where it is one.
 */
async function copyOne(from: string, to: string): Promise<void> {
  await copyFile(await realpath(from), to, constants.COPYFILE_FICLONE);
}

async function copyIfThere(from: string, to: string): Promise<void> {
  if (await lstat(from).catch(() => undefined)) await copyOne(from, to);
}
