// Devices: with the CUDA library whose kernels run on this processor (test/emulator), in processes of their own. What a card does to
// numbers and speed shows on a card only; all else is here.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';

const LIBRARY = path.join(__dirname, '../../.cache/cmake/emulated/cones_cuda_emulated.so');

function run(scenario: string, env: NodeJS.ProcessEnv): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const file = (name: string) => path.join(__dirname, name);
    const args = ['-r', file('register.cjs'), file('cuda-scenarios.ts'), scenario];
    execFile(process.execPath, args, { env: { ...process.env, ...env }, timeout: 540_000 }, (error, stdout, stderr) => {
      if (error || stderr) reject(error ?? new Error(stderr));
      else resolve(JSON.parse(stdout));
    });
  });
}

jest.setTimeout(600_000);

const text = (pattern: RegExp) => expect.stringMatching(pattern) as string;

test('without the CUDA library', async () => {
  const unavailable = { code: 'CONES_DEVICE_UNAVAILABLE', message: text(/CUDA library.*nowhere.*device 'cpu'/) };
  expect(await run('none', { CONES_CUDA_LIBRARY: '/nowhere/cones_cuda.so' })).toEqual({
    devices: [
      { device: 'cpu', name: text(/^(avx512|avx2|scalar)$/), memory: expect.any(Number) as number, reason: null },
      { device: 'cuda', name: null, memory: null, reason: unavailable.message },
    ],
    // Most machines have no card, and need not hear of it.
    auto: ['cpu', 'fp32', []],
    cuda: unavailable,
    clip: unavailable,
    plan: unavailable,
  });
});

// Built with the C++ tests, where the emulator runs: Linux x64.
(existsSync(LIBRARY) ? describe : describe.skip)('on an emulated card', () => {
  const onCard = (scenario: string, env: NodeJS.ProcessEnv = {}) => run(scenario, { CONES_CUDA_LIBRARY: LIBRARY, ...env });

  test('devices and precisions by name', async () => {
    const { clipDifference, ...rest } = (await onCard('places')) as { clipDifference: number };
    expect(rest).toEqual({
      devices: [
        { device: 'cpu', name: expect.any(String) as string, memory: expect.any(Number) as number, reason: null },
        { device: 'cuda:0', name: 'emulated GPU', memory: 8 * 2 ** 30, reason: null },
      ],
      engine: ['cuda:0', 'fp16', []],
      clip: ['cuda:0', 'bf16', 'cpu', 'fp32'],
      metadata: ['cuda', 'fp16'],
      sameBytes: true,
      limit: expect.any(Number) as number,
      fp32: { code: 'CONES_OPTION_INVALID', message: text(/fp16 or bf16/) },
      autoFp32: 'cpu',
      cpuFp16: { code: 'CONES_OPTION_INVALID', message: text(/CPU computes in fp32/) },
      second: { code: 'CONES_DEVICE_UNAVAILABLE', message: text(/cuda:1.*has 1/) },
    });
    const { limit } = rest as unknown as { limit: number };
    expect(limit).toBeLessThan(0.9 * 8 * 2 ** 30);
    expect(limit).toBeGreaterThan(0.89 * 8 * 2 ** 30);
    expect(clipDifference).toBeLessThan(32 * 2 ** -8);
    expect(clipDifference).toBeGreaterThan(0);
  });

  // A rounding to 16 bits is off by half a unit of the last place at most, 2^-11 or 2^-8 of the value; errors of some hundred roundings in
  // turn, which go either way, add up to about the root of their number. The autoencoder is always in bf16.
  test('what it computes is what the CPU does, but for the rounding', async () => {
    const compared = (await onCard('compare')) as Record<'fp16' | 'bf16', Record<string, number>>;
    for (const [precision, unit] of [['fp16', 2 ** -11], ['bf16', 2 ** -8]] as const) {
      for (const [name, difference] of Object.entries(compared[precision])) {
        const bound = 16 * (/^(decode|encode|picture)$/.test(name) ? 2 ** -8 : unit);
        expect({ precision, name, difference, within: difference > 0 && difference < bound }).toMatchObject({ within: true });
      }
    }
  });

  test('a search: found, resumed, drawn; and resumed elsewhere', async () => {
    const elsewhere = (began: RegExp) => ({ code: 'CONES_STATE_INVALID', message: text(began) });
    expect(await onCard('find')).toEqual({
      equal: true,
      place: { device: 'cuda', precision: 'fp16', density: expect.any(Number) as number },
      cpuPlace: [null, 'cpu', 'fp32'],
      pictures: 1,
      cpuDraws: 1,
      onCpu: elsewhere(/began on "cuda" in "fp16".*on cpu in fp32.*load the model with device/),
      onBf16: elsewhere(/began on "cuda" in "fp16".*on cuda in bf16/),
      cpuStateOnCuda: elsewhere(/began on "cpu" in "fp32".*on cuda in fp16/),
    });
  });

  test('a card that fails is lost to its engine, which can be disposed of', async () => {
    expect(await onCard('lost')).toEqual({
      first: { code: 'CONES_DEVICE_LOST', message: text(/emulated GPU failed: unspecified launch failure.*load it again/) },
      later: Array(4).fill('CONES_DEVICE_LOST'),
      auto: 'cuda:0',
      after: 'CONES_DISPOSED',
    });
  });

  test("a card without room: 'auto' says so and takes the CPU", async () => {
    expect(await onCard('full', { CONES_CUDA_EMULATED_MEMORY: '100000' })).toEqual({
      auto: ['cpu', [{ code: 'cpu-fallback', message: text(/Computing on cpu. cuda:0 is not used: the weights do not fit/) }]],
      cuda: { code: 'CONES_OUT_OF_MEMORY', message: expect.any(String) as string },
    });
  });

  test('plans without weights are those with them', async () => {
    expect(await onCard('plan')).toEqual({
      same: [true, true, true, true],
      refused: { code: 'CONES_OPTION_INVALID', message: text(/planOnly/) },
      place: ['cuda:0', 'fp16', expect.any(Number)],
    });
  });
});
