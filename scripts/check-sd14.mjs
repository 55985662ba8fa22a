// npm run check:sd14: UNet forward and K-V gradients at Stable Diffusion 1.4's full size against PyTorch.
//
// The JSON configs are those of bench/sd14; the weights are made up (scripts/check_sd14.py, about 3 minutes, 10 GB of
// memory and 2.3 GB in .cache/sd14), the first time only.
// PYTHON names a Python with scripts/requirements.txt installed (default python3); THREADS the engine's threads.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { Golden } from '../test/goldens/golden.js';
import { root, run, script } from './run.mjs';

const folder = path.join(root, '.cache', 'sd14');

async function makeReference() {
  const python = process.env.PYTHON ?? 'python3';
  await run(python, [path.join(root, 'scripts', 'check_sd14.py'), path.join(root, 'bench', 'sd14'), '--out', folder]);
}

async function loadModel() {
  const require = createRequire(import.meta.url);
  const { native, fromNative } = require('../dist/native.js');
  const { loadModelConfig } = require('../dist/models');
  const { unet, text, vae } = await loadModelConfig(folder);
  const threads = Number(process.env.THREADS ?? os.availableParallelism());
  return fromNative(() => native().loadModel({ unet, text, vae, threads, memoryLimit: os.totalmem() }));
}

async function timed(what, job) {
  const start = performance.now();
  const result = await job;
  console.log(`${what}: ${((performance.now() - start) / 1000).toFixed(1)} s`);
  return result;
}

await script(async () => {
  // errors.json is written last.
  if (!existsSync(path.join(folder, 'errors.json'))) await makeReference();
  const golden = new Golden(folder);
  const [batch, , height, width] = golden.shape('sample');
  const input = {
    batch, height, width,
    latents: golden.data('sample'),
    timesteps: Float64Array.from(golden.data('timesteps')),
    embeddings: golden.data('encoder_hidden_states'),
    tokens: golden.shape('encoder_hidden_states')[1],
  };

  const model = await loadModel();
  const out = await timed('forward', model.denoise(input));
  const gradient = await timed('forward and backward', model.gradient({
    ...input,
    target: golden.data('target'),
    weights: Float64Array.from(golden.data('weights')),
    tensors: model.kvTensors.map(({ name }) => name),
    wantLatents: true,
    wantEmbeddings: true,
  }));

  const verdicts = [
    golden.judge('out', out),
    golden.judge('loss', [gradient.loss]),
    golden.judge('grad.sample', gradient.latents),
    golden.judge('grad.encoder_hidden_states', gradient.embeddings),
    ...model.kvTensors.map(({ name }, i) => golden.judge(`grad.${name}`, gradient.gradients[i])),
  ];
  const peak = model.memory().peak / 2 ** 30;
  await model.dispose();

  console.log('error / PyTorch\'s own fp32 error / tolerance, each as a fraction of the largest value');
  for (const { name, error, pytorch, tolerance, ok } of verdicts) {
    const numbers = [error, pytorch, tolerance].map((x) => x.toExponential(1)).join('  ');
    console.log(`${ok ? 'ok    ' : 'FAILED'} ${numbers}  ${name}`);
  }
  const failed = verdicts.filter(({ ok }) => !ok).length;
  console.log(`${verdicts.length - failed} passed, ${failed} failed; peak memory ${peak.toFixed(2)} GiB`);
  if (failed) throw new Error('The engine and PyTorch disagree on Stable Diffusion 1.4\'s architecture.');
});
