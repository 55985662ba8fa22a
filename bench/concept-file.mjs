// Size and speed of concept files on masks over SD 1.4's 43,950,080 K-V weights, beside what else could hold
// the indices: int32 (as in the paper, 3.4), the same gzipped, and brotli over the gaps.
// Usage: node bench/concept-file.mjs [--json]     (after npm run build:ts)
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { Concept } from '../dist/concept.js';

const RUNS = 7;
/** Table 2: density (%) of one to four subjects' concept neurons, and the storage that the paper reports (MB). */
const PAPER = [[1.32, 1.43], [2.43, 3.41], [4.54, 4.96], [7.01, 7.75]];

/** [name, [out, in]] of the 64 K-V weights. */
function sd14Weights() {
  const blocks = [
    ...[0, 1, 2].flatMap((level) => [0, 1].map((i) => [`down_blocks.${level}.attentions.${i}`, [320, 640, 1280][level]])),
    ['mid_block.attentions.0', 1280],
    ...[1, 2, 3].flatMap((level) => [0, 1, 2].map((i) => [`up_blocks.${level}.attentions.${i}`, [0, 1280, 640, 320][level]])),
  ];
  return blocks.flatMap(([block, channels]) =>
    [['attn1', channels], ['attn2', 768]].flatMap(([attention, inputs]) =>
      ['to_k', 'to_v'].map((to) => [`${block}.transformer_blocks.0.${attention}.${to}.weight`, [channels, inputs]]),
    ),
  );
}

function mulberry32(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Every weight is a neuron with probability `density`, on its own. */
function randomMask([out, inputs], density, random) {
  const indices = [];
  for (let at = -1; ; ) {
    at += 1 + Math.floor(Math.log1p(-random()) / Math.log1p(-density));
    if (at >= out * inputs) return Uint32Array.from(indices);
    indices.push(at);
  }
}

/** Neurons crowd in some rows and columns, as gradients, which are outer products, make them do. */
function clusteredMask([out, inputs], density, random) {
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const scales = (count) => Float64Array.from({ length: count }, () => Math.exp(normal()));
  const [rows, columns] = [scales(out), scales(inputs)];
  let total = 0;
  for (const row of rows) for (const column of columns) total += row * column;
  const scale = (density * out * inputs) / total;
  const indices = [];
  for (let i = 0; i < out; i++) for (let j = 0; j < inputs; j++) if (random() < scale * rows[i] * columns[j]) indices.push(i * inputs + j);
  return Uint32Array.from(indices);
}

/** log2 n! by Stirling's series; its error is below 1e-9 from n = 16 on. */
function log2Factorial(n) {
  if (n < 16) return Array.from({ length: n }, (_, i) => Math.log2(i + 1)).reduce((a, b) => a + b, 0);
  return ((n + 0.5) * Math.log(n) - n + 0.5 * Math.log(2 * Math.PI) + 1 / (12 * n) - 1 / (360 * n ** 3)) / Math.LN2;
}

/** Bytes that no code for k of n positions can beat on average. */
const entropyBytes = (n, k) => (log2Factorial(n) - log2Factorial(k) - log2Factorial(n - k)) / 8;

function medianMs(work) {
  const times = Array.from({ length: RUNS }, () => {
    const start = performance.now();
    work();
    return performance.now() - start;
  });
  return times.sort((a, b) => a - b)[RUNS >> 1];
}

function measure(kind, mask, percent, paperMb) {
  const random = mulberry32(1);
  const tensors = new Map(sd14Weights().map(([name, shape]) => [name, { shape, indices: mask(shape, percent / 100, random) }]));
  const concept = Concept.create({
    fingerprint: 'sha256:0123456789abcdef0123456789abcdef',
    subjects: [{ identifier: 'V1*', token: 'ktn', category: 'cat' }],
    method: 'algorithm-a2',
    steps: 1000,
    engineVersion: '0.1.0',
    tensors,
  });
  const info = concept.info();
  const all = [...concept.tensors.values()];
  const bound = all.reduce((sum, { shape, indices }) => sum + entropyBytes(shape[0] * shape[1], indices.length), 0);
  const int32 = Buffer.concat(all.map(({ indices }) => Buffer.from(indices.buffer, indices.byteOffset, indices.byteLength)));
  const gaps = Buffer.concat(all.map(({ indices }) => Buffer.from(indices.map((index, i) => index - (i ? indices[i - 1] : 0)).buffer)));
  const bytes = concept.toBuffer();
  const encodeMs = medianMs(() => concept.toBuffer());
  const decodeMs = medianMs(() => Concept.fromBuffer(bytes));
  return {
    mask: kind,
    'density %': percent,
    neurons: concept.neuronCount,
    'file MB': bytes.length / 1e6,
    'file / entropy': bytes.length / bound,
    'sections / entropy': info.tensors.reduce((sum, { byteLength }) => sum + byteLength, 0) / bound,
    'int32 MB': int32.length / 1e6,
    'int32+gzip MB': gzipSync(int32).length / 1e6,
    'gaps+brotli MB': brotliCompressSync(gaps, { params: { [constants.BROTLI_PARAM_QUALITY]: 5 } }).length / 1e6,
    'paper MB': paperMb,
    'encode ms': encodeMs,
    'encode ns/index': (encodeMs * 1e6) / concept.neuronCount,
    'decode ms': decodeMs,
    'decode ns/index': (decodeMs * 1e6) / concept.neuronCount,
  };
}

const rows = [['random', randomMask], ['clustered', clusteredMask]].flatMap(([kind, mask]) => PAPER.map(([percent, mb]) => measure(kind, mask, percent, mb)));
if (process.argv.includes('--json')) {
  console.log(JSON.stringify(rows));
} else {
  console.table(rows.map((row) => Object.fromEntries(Object.entries(row).map(([key, value]) => [key, typeof value === 'number' ? +value.toPrecision(4) : value]))));
}
