// What a run needs besides this repository: a Python with PyTorch and diffusers, and models.
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { root, run } from '../../scripts/run.mjs';

const requirements = path.join(root, 'scripts', 'requirements.txt');

/** A Python with scripts/requirements.txt: $PYTHON, or one of our own, made when first needed and when the file changes. */
export async function findPython() {
  if (process.env.PYTHON) return process.env.PYTHON;
  const folder = path.join(root, '.cache', 'bench-venv');
  const python = path.join(folder, 'bin', 'python');
  const installed = path.join(folder, 'requirements.txt'); // written last
  const wanted = readFileSync(requirements, 'utf8');
  if (existsSync(installed) && readFileSync(installed, 'utf8') === wanted) return python;
  console.log('Installing PyTorch and diffusers into .cache/bench-venv …');
  try {
    await run('python3', ['-m', 'venv', folder]);
  } catch (cause) {
    throw new Error('A Python environment could not be made. Install one (sudo apt-get install -y python3-venv), or set PYTHON to a Python that has scripts/requirements.txt.', { cause });
  }
  await run(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '-r', requirements]);
  writeFileSync(installed, wanted);
  return python;
}

/** @throws when the folder has no weights and cannot be made */
export async function ensureModel(size, folder, python) {
  if (existsSync(path.join(folder, 'unet', 'diffusion_pytorch_model.safetensors'))) return;
  if (size !== 'sd14') throw new Error(`${folder} has no weights (unet/diffusion_pytorch_model.safetensors). Name a model with --${size} FOLDER.`);
  if (existsSync(folder)) throw new Error(`${folder} exists but has no UNet weights. Remove it, or name a model with --sd14 FOLDER.`);
  console.log(`Making a model of SD 1.4's size with random weights in ${folder} …`);
  const unfinished = `${folder}.${process.pid}`;
  try {
    await run(python, [path.join(root, 'scripts', 'random_model.py'), path.join(root, 'bench', 'sd14'), unfinished]);
    renameSync(unfinished, folder);
  } finally {
    rmSync(unfinished, { recursive: true, force: true });
  }
}
