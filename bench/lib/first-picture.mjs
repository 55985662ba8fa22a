// node first-picture.mjs FOLDER THREADS: our side of the row cold_start. The same work as ../python/first_picture.py.
import { createRequire } from 'node:module';

const [folder, threads] = process.argv.slice(2);
const { Engine } = createRequire(import.meta.url)('../../dist/index.js');
const engine = await Engine.load(folder, { threads: Number(threads) });
await engine.generate({ prompt: 'a cat on the beach', steps: 20, guidance: 7.5, seed: 1 });
const { user, system } = process.cpuUsage();
console.log(JSON.stringify({ cpuMs: (user + system) / 1000 }));
await engine.dispose();
