// npm run bench: this engine against PyTorch + diffusers on the same machine, the same shapes and as many threads.
// `--help` lists the options; docs/log/bench.md says what the rows are.
import { writeFileSync } from 'node:fs';
import { root, script } from '../scripts/run.mjs';
import { coldStart } from './lib/cold-start.mjs';
import { alternate } from './lib/compare.mjs';
import { loadEngine } from './lib/engine-rows.mjs';
import { parseOptions, USAGE } from './lib/options.mjs';
import { PyTorch } from './lib/pytorch.mjs';
import { environment, LEGEND, tableHead, tableRow } from './lib/report.mjs';
import { ensureModel, findPython } from './lib/setup.mjs';

/** Side of the latents; the mini model has its own. */
const LATENTS = { sd14: 32 };
const MAX_ITERATIONS = 200;

/** One row: as many calls per measurement as fill `measurementMs` on our side, the same number on the other. */
async function compareRow(engine, pytorch, options, request) {
  const measureOurs = await engine.prepare(request.row, request.batch);
  const { ms } = await measureOurs(1);
  const iterations = Math.min(MAX_ITERATIONS, Math.max(1, Math.round(options.measurementMs / ms)));
  const measureTheirs = () => pytorch.measure({ ...request, iterations });
  const { memoryFormat, torch, diffusers } = await measureTheirs(); // finds PyTorch's faster memory format
  const result = await alternate(options.rounds, () => measureOurs(iterations), measureTheirs);
  return { ...result, iterations, memoryFormat, torch, diffusers };
}

async function benchSize(size, python, pytorch, options, report) {
  const folder = options.folders[size];
  await ensureModel(size, folder, python);
  const rows = options.rows.filter((row) => row !== 'cold_start');
  for (const threads of options.threads) {
    if (rows.length > 0) {
      const engine = await loadEngine(folder, threads, LATENTS[size]);
      try {
        for (const batch of options.batches) {
          for (const row of rows) {
            const request = { model: folder, row, batch, size: engine.size, threads };
            const result = await compareRow(engine, pytorch, options, request);
            report({ size, row, batch, threads, latents: engine.size, instructionSet: engine.instructionSet, ...result });
          }
        }
      } finally {
        await engine.dispose();
      }
    }
    // Loading Stable Diffusion's 2 GB is not what a cold start is about.
    if (size === 'mini' && options.rows.includes('cold_start')) {
      const [ours, theirs] = await coldStart(python, folder, threads);
      report({ size, row: 'cold_start', batch: 1, threads, ...(await alternate(options.rounds, ours, theirs)) });
    }
  }
}

await script(async () => {
  const options = parseOptions(process.argv.slice(2));
  if (options.help) return console.log(USAGE);
  const python = await findPython();
  const about = environment();
  const results = [];
  const save = () => options.json && writeFileSync(options.json, `${JSON.stringify({ ...about, results }, null, 1)}\n`);
  const pytorch = new PyTorch(python);
  console.log(`${about.cpu}, ${about.cores} cores · commit ${about.commit} · load average at the start ${about.loadAverage.toFixed(1)}\n`);
  console.log(tableHead());
  try {
    for (const size of options.sizes) {
      await benchSize(size, python, pytorch, options, (result) => {
        results.push(result);
        console.log(tableRow(result));
        save(); // after every row: a long run that is stopped keeps what it has
      });
    }
  } finally {
    pytorch.close();
  }
  console.log(`\n${LEGEND}`);
  if (options.json) console.log(`Written to ${options.json} (working directory ${root}).`);
});
