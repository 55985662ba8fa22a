// Compiles cuda/*.cu and reads what ptxas says of each kernel: prints registers per architecture, and fails where a kernel spills
// registers or has a stack frame (both are hidden traffic to memory).
//   node scripts/check-cuda-report.mjs [--arch 80,90a,100] [cuda/file.cu …]   default: sm_80, sm_90a and sm_120; all files
//   node scripts/check-cuda-report.mjs --log FILE                             reads the output of nvcc -Xptxas -v instead
import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { root, script } from './run.mjs';

const { values: options, positionals: files } = parseArgs({
  allowPositionals: true,
  options: { arch: { type: 'string', default: '80,90a,120' }, log: { type: 'string' } },
});

/** What ptxas says in `text`, as { name (mangled), arch, registers, stack, spills }. */
function parse(text) {
  const kernels = [];
  for (const line of text.split('\n')) {
    const entry = /Compiling entry function '(\w+)' for '(\w+)'/.exec(line);
    if (entry) kernels.push({ name: entry[1], arch: entry[2], registers: undefined, stack: 0, spills: 0 });
    const kernel = kernels.at(-1);
    const memory = /(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line);
    // Functions that are not inlined have lines of their own, which count for the kernel that they follow.
    if (memory && kernel) {
      kernel.stack = Math.max(kernel.stack, Number(memory[1]));
      kernel.spills = Math.max(kernel.spills, Number(memory[2]) + Number(memory[3]));
    }
    const registers = /Used (\d+) registers/.exec(line);
    if (registers && kernel) kernel.registers = Number(registers[1]);
  }
  return kernels;
}

/** nvcc's report on each file, as many at a time as there are processors. */
async function compile(sources, architectures) {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'cones-cuda-'));
  const gencode = architectures.flatMap((arch) => ['-gencode', `arch=compute_${arch},code=sm_${arch}`]);
  const waiting = [...sources];
  let text = '';
  const worker = async () => {
    for (let source = waiting.shift(); source !== undefined; source = waiting.shift()) {
      const object = path.join(directory, `${path.basename(source)}.o`);
      const flags = ['-std=c++20', '-O3', '-Icuda', ...gencode, '-Xptxas', '-v', '-c', source, '-o', object];
      const { stderr } = await promisify(execFile)(process.env.CUDACXX ?? 'nvcc', flags, { cwd: root, maxBuffer: 64 << 20 });
      text += stderr;
    }
  };
  try {
    await Promise.all(Array.from({ length: os.availableParallelism() }, worker));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  return text;
}

/** Names as in the source, without what all have in common. */
function readable(names) {
  const { stdout, status } = spawnSync('c++filt', { input: names.join('\n'), encoding: 'utf8' });
  const plain = status === 0 ? stdout.split('\n') : names;
  return new Map(names.map((name, i) => [name, plain[i]
    .replace(/^void /, '').replaceAll(/\(anonymous namespace\)::|_GLOBAL__N__\w+::|cones::cuda::/g, '')
    .replaceAll('__nv_bfloat16', 'bf16').replaceAll('__half', 'half').replace(/\(.*$/, '')]));
}

await script(async () => {
  const sources = files.length ? files : readdirSync(path.join(root, 'cuda')).filter((name) => name.endsWith('.cu')).map((name) => path.join('cuda', name));
  const kernels = parse(options.log ? readFileSync(options.log, 'utf8') : await compile(sources, options.arch.split(',')));
  if (kernels.length === 0) throw new Error('The report names no kernel: is it of nvcc -Xptxas -v?');

  const architectures = [...new Set(kernels.map(({ arch }) => arch))];
  const names = readable([...new Set(kernels.map(({ name }) => name))]);
  const rows = new Map();
  for (const { name, arch, registers } of kernels) rows.set(names.get(name), { ...rows.get(names.get(name)), [arch]: registers });
  console.table(Object.fromEntries([...rows].sort(([a], [b]) => (a < b ? -1 : 1))), architectures);

  const bad = kernels.filter(({ stack, spills, registers }) => stack > 0 || spills > 0 || registers === undefined);
  for (const { name, arch, stack, spills } of bad) console.error(`${names.get(name)} for ${arch}: ${stack} bytes of stack frame, ${spills} of spills`);
  console.log(`${kernels.length} kernels for ${architectures.join(', ')}; ${bad.length} with spills or a stack frame`);
  if (bad.length > 0) process.exitCode = 1;
});
