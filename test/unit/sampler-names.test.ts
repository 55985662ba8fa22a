import { A1111_NAMES, KARRAS_SAMPLERS, SAMPLER_NAMES, samplerByName } from '../../lib/diffusion/sampler-names';
import type { SchedulerConfig } from '../../lib/models/types';
import { samplerSchedule } from '../../lib/diffusion/schedule';

test.each([
  ['DPM++ 2M Karras', { sampler: 'dpm-solver-multistep', useKarrasSigmas: true }],
  ['dpm++ 2m sde karras', { sampler: 'dpm-solver-multistep-sde', useKarrasSigmas: true }],
  ['Euler a', { sampler: 'euler-ancestral' }],
  [' euler ', { sampler: 'euler' }],
  ['UniPC', { sampler: 'unipc-multistep' }],
  ['pndm', { sampler: 'pndm' }],
  ['Euler a Karras', undefined], // there is no such spacing
  ['DDIM Karras', undefined],
  ['DPM++ SDE', undefined],
  ['constructor', undefined],
  ['', undefined],
] as const)('%s', (name, expected) => {
  expect(samplerByName(name)).toEqual(expected);
});

test('no two samplers share a name', () => {
  const names = [...SAMPLER_NAMES, ...Object.values(A1111_NAMES).map((name) => name.toLowerCase())];
  const shared = ['ddim', 'euler', 'heun', 'lms', 'lcm', 'tcd']; // one sampler's own name and A1111's
  expect(names.filter((name, i) => names.indexOf(name) !== i).sort()).toEqual(shared.sort());
});

const config: SchedulerConfig = {
  ...{ numTrainTimesteps: 1000, betaStart: 0.00085, betaEnd: 0.012, betaSchedule: 'scaled_linear' as const, trainedBetas: null },
  ...{ predictionType: 'epsilon' as const, stepsOffset: 1, setAlphaToOne: false, timestepSpacing: null, rescaleBetasZeroSnr: false },
  ...{ useKarrasSigmas: false, originalInferenceSteps: 50, timestepScaling: 10, sampler: 'pndm' as const, refused: {} },
};

test.each(SAMPLER_NAMES.map((name) => [name]))('%s obeys useKarrasSigmas if and only if it says that it can', (name) => {
  const plain = samplerSchedule(name, config, { steps: 10 });
  const karras = samplerSchedule(name, config, { steps: 10, useKarrasSigmas: true });
  expect(JSON.stringify(karras) !== JSON.stringify(plain)).toBe(KARRAS_SAMPLERS.has(name));
});
