/**
 * Samplers that begin in the middle, from a noised picture, against diffusers' own schedulers (scripts/golden_start.py).
 * Tolerance: twice the error that diffusers' fp32 arithmetic makes on the same trajectory.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseSchedulerConfig } from '../../lib/models/scheduler';
import { noisedPicture, type SamplerName, samplerSchedule } from '../../lib/diffusion/schedule';
import { toyStep } from '../toy-solver';

interface Golden {
  image: number[];
  noise: number[];
  cases: {
    sampler: SamplerName;
    config: Record<string, unknown>;
    steps: number;
    start: number;
    timesteps: number[];
    timestep_error: number;
    first: number[];
    trajectory: number[][];
    known: number[][];
    fp32_error: number;
  }[];
}

const golden = JSON.parse(readFileSync(join(__dirname, '../goldens/schedule-start.json'), 'utf8')) as Golden;
const { base_config: base } = JSON.parse(readFileSync(join(__dirname, '../goldens/schedule.json'), 'utf8')) as { base_config: Record<string, unknown> };

const named = golden.cases.map((c) => [`${c.sampler} ${c.steps} steps from ${c.start} ${JSON.stringify(c.config)}`, c] as const);
test.each(named)('%s', (_, expected) => {
  const config = parseSchedulerConfig('golden', { ...base, ...expected.config });
  const { sigmas, steps } = samplerSchedule(expected.sampler, config, expected);
  expect(steps).toHaveLength(expected.timesteps.length);
  expect(sigmas).toHaveLength(steps.length + 1);
  const scale = Math.max(...expected.trajectory.flat().map(Math.abs));
  const close = (value: number, wanted: number) => expect(Math.abs(value - wanted)).toBeLessThanOrEqual(2 * expected.fp32_error + 1e-9 * scale);
  const noised = (step: number): number[] => {
    const mix = noisedPicture(expected.sampler, sigmas[step]!);
    return golden.image.map((value, j) => mix.image * value + mix.noise * golden.noise[j]!);
  };
  let x = noised(0);
  x.forEach((value, j) => close(value, expected.first[j]!));
  const previous: number[][] = [];
  steps.forEach((step, i) => {
    expect(Math.abs(step.timestep - expected.timesteps[i]!)).toBeLessThanOrEqual(2 * expected.timestep_error);
    x = toyStep(step, i, x, previous);
    x.forEach((value, j) => close(value, expected.trajectory[i]![j]!));
    // Halfway through a step of DPM2 the latents have the middle's noise; diffusers blends in that of the step's end.
    if (i + 1 < steps.length && !(expected.sampler.startsWith('kdpm2') && i % 2 === 0)) noised(i + 1).forEach((value, j) => close(value, expected.known[i]![j]!));
  });
});

test.each([-1, 5, 1.5, NaN])('a start of %d among 5 steps is refused', (start) => {
  const config = parseSchedulerConfig('golden', base);
  expect(() => samplerSchedule('ddim', config, { steps: 5, start })).toThrow(expect.objectContaining({ code: 'CONES_OPTION_INVALID' }) as Error);
});
