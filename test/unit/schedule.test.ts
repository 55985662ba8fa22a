/**
 * Sampler coefficients against trajectories of diffusers' own schedulers (scripts/golden_schedule.py).
 * Tolerance: twice the error that diffusers' fp32 arithmetic makes on the same trajectory.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SchedulerConfig } from '../../lib/models/types';
import type { SamplerName } from '../../lib/diffusion/schedule';
import { alphasCumprod, samplerSchedule } from '../../lib/diffusion/schedule';
import { PREVIOUS } from '../../lib/diffusion/samplers/types';
import { toyStep } from '../toy-solver';

interface Golden {
  x_start: number[];
  tables: { config: Record<string, unknown>; timesteps: number[]; alphas_cumprod: number[]; fp32_error: number }[];
  cases: {
    sampler: SamplerName;
    config: Record<string, unknown>;
    steps: number;
    eta: number;
    initial_noise_scale: number;
    timesteps: number[];
    timestep_error: number;
    trajectory: number[][];
    fp32_error: number;
  }[];
}

const golden = JSON.parse(readFileSync(join(__dirname, '../goldens/schedule.json'), 'utf8')) as Golden;

const SD14: SchedulerConfig = {
  numTrainTimesteps: 1000,
  betaStart: 0.00085,
  betaEnd: 0.012,
  betaSchedule: 'scaled_linear',
  trainedBetas: null,
  predictionType: 'epsilon',
  stepsOffset: 1,
  setAlphaToOne: false,
  timestepSpacing: null,
  rescaleBetasZeroSnr: false,
  useKarrasSigmas: false,
  originalInferenceSteps: 50,
  timestepScaling: 10,
  sampler: 'pndm',
  refused: {},
};

/** { beta_start: 1 } → { ...SD14, betaStart: 1 } */
function configWith(changes: Record<string, unknown>): SchedulerConfig {
  const camel = (key: string): string => key.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
  return { ...SD14, ...Object.fromEntries(Object.entries(changes).map(([key, value]) => [camel(key), value])) };
}

describe('alphasCumprod', () => {
  test.each(golden.tables.map((table) => [JSON.stringify(table.config), table] as const))('%s', (_, table) => {
    const ours = alphasCumprod(configWith(table.config));
    expect(ours).toHaveLength(1000);
    // The same numbers bit for bit; only rescaling to zero SNR goes through fewer fp32 roundings than diffusers.
    const tolerance = table.config['rescale_betas_zero_snr'] ? 2 * table.fp32_error : 0;
    table.timesteps.forEach((t, i) => {
      expect(Math.abs(ours[t]! - table.alphas_cumprod[i]!)).toBeLessThanOrEqual(tolerance);
    });
  });
});

describe('sampler trajectories equal diffusers', () => {
  const named = golden.cases.map((c) => [`${c.sampler} ${c.steps} steps eta ${c.eta} ${JSON.stringify(c.config)}`, c]);
  test.each(named as [string, Golden['cases'][number]][])('%s', (_, expected) => {
    const { initialNoiseScale, steps } = samplerSchedule(expected.sampler, configWith(expected.config), expected);
    expect(steps).toHaveLength(expected.timesteps.length);
    for (const { xFromPrevious } of steps) expect(xFromPrevious.length).toBeLessThanOrEqual(PREVIOUS);
    steps.forEach(({ timestep }, i) => {
      expect(Math.abs(timestep - expected.timesteps[i]!)).toBeLessThanOrEqual(2 * expected.timestep_error);
    });
    // One fp32 rounding in diffusers.
    expect(Math.abs(initialNoiseScale / expected.initial_noise_scale - 1)).toBeLessThanOrEqual(2 ** -23);

    const scale = Math.max(...expected.trajectory.flat().map(Math.abs));
    let x = golden.x_start.map((value) => value * initialNoiseScale);
    const previous: number[][] = [];
    steps.forEach((step, i) => {
      x = toyStep(step, i, x, previous);
      x.forEach((value, j) => {
        const error = Math.abs(value - expected.trajectory[i]![j]!);
        expect(error).toBeLessThanOrEqual(2 * expected.fp32_error + 1e-9 * scale);
      });
    });
  });
});

describe('options out of range', () => {
  const refused = (sampler: string, config: SchedulerConfig, options: { steps: number; eta?: number }): unknown => {
    try {
      samplerSchedule(sampler as SamplerName, config, options);
      return 'accepted';
    } catch (error) {
      return (error as { code?: string }).code;
    }
  };

  test.each([
    ['unknown sampler', 'plms', SD14, { steps: 10 }],
    ['no own property', 'toString', SD14, { steps: 10 }],
    ['zero steps', 'ddim', SD14, { steps: 0 }],
    ['half a step', 'euler', SD14, { steps: 1.5 }],
    ['NaN steps', 'euler', SD14, { steps: NaN }],
    ['more steps than timesteps', 'dpm-solver-multistep', SD14, { steps: 1001 }],
    ['an offset beyond the table', 'ddim', SD14, { steps: 1000 }],
    ['repeated timesteps', 'dpm-solver-multistep', configWith({ timestep_spacing: 'leading' }), { steps: 1000 }],
    ['eta above 1', 'ddim', SD14, { steps: 10, eta: 1.5 }],
    ['eta NaN', 'ddim', SD14, { steps: 10, eta: NaN }],
  ] as const)('%s', (_, sampler, config, options) => {
    expect(refused(sampler, config, options)).toBe('CONES_OPTION_INVALID');
  });

  test('zero terminal SNR with epsilon', () => {
    const config = configWith({ rescale_betas_zero_snr: true, timestep_spacing: 'trailing' });
    expect(refused('ddim', config, { steps: 10 })).toBe('CONES_CONFIG_INVALID');
  });

  test.each([{ beta_start: 0.1, beta_end: 0.9 }, { beta_start: 1e-9, beta_end: 1e-9 }])('betas %j', (change) => {
    expect(refused('euler', configWith({ ...change, beta_schedule: 'linear' }), { steps: 10 })).toBe('CONES_CONFIG_INVALID');
  });

  test('Karras spacing of the cosine schedule', () => {
    const config = configWith({ beta_schedule: 'squaredcos_cap_v2', use_karras_sigmas: true });
    expect(refused('dpm-solver-multistep', config, { steps: 10 })).toBe('CONES_OPTION_INVALID');
    expect(refused('euler', config, { steps: 10 })).toBe('accepted');
  });
});
