/**
 * Keys of a scheduler config that concern some of the samplers only, as diffusers' `from_config` reads them, with the values that are
 * implemented. One that a sampler does not have says nothing about its pictures.
 */
import { isDeepStrictEqual } from 'node:util';
import type { SamplerName } from '../diffusion/sampler-names';
import { brief, show } from '../util/show';
import type { JsonObject } from './read-json';

const OFF = [false, null];
/** Of all that think in noise levels. */
const SPACING = { use_beta_sigmas: OFF, use_exponential_sigmas: OFF };
/** Of the DPM-Solver family and UniPC. */
const SOLVER = {
  ...SPACING,
  thresholding: OFF,
  solver_order: [2],
  final_sigmas_type: ['zero'],
  use_flow_sigmas: OFF,
  use_dynamic_shifting: OFF,
};
const MULTISTEP = {
  ...SOLVER,
  // diffusers reads the others' solver types as midpoint.
  solver_type: ['midpoint', 'bh1', 'bh2', 'logrho'],
  lambda_min_clipped: [-Infinity, null],
  variance_type: [null, 'fixed_small', 'fixed_small_log', 'fixed_large', 'fixed_large_log'],
  use_lu_lambdas: OFF,
  sigma_min: [null],
  sigma_max: [null],
};

const KEYS = {
  'dpm-solver-multistep': { ...MULTISTEP, algorithm_type: ['dpmsolver++', 'deis'] },
  'dpm-solver-multistep-sde': MULTISTEP,
  'dpm-solver-singlestep': {
    ...SOLVER,
    algorithm_type: ['dpmsolver++', 'deis'],
    solver_type: ['midpoint', 'bh1', 'bh2', 'logrho'],
    lambda_min_clipped: [-Infinity, null],
    variance_type: MULTISTEP.variance_type,
  },
  'unipc-multistep': {
    ...SOLVER,
    // diffusers reads the others' solver types as bh2.
    solver_type: ['bh2', 'midpoint', 'heun', 'logrho'],
    predict_x0: [true],
    disable_corrector: [[]],
    sigma_min: [null],
    sigma_max: [null],
  },
  ddim: { thresholding: OFF },
  euler: {
    ...SPACING,
    interpolation_type: ['linear'],
    timestep_type: ['discrete'],
    final_sigmas_type: ['zero'],
    sigma_min: [null],
    sigma_max: [null],
  },
  'euler-ancestral': {},
  heun: SPACING,
  kdpm2: SPACING,
  'kdpm2-ancestral': SPACING,
  lms: SPACING,
  pndm: { skip_prk_steps: [true] },
  lcm: { thresholding: OFF },
  tcd: { thresholding: OFF },
  'deis-multistep': {
    ...SPACING,
    thresholding: OFF,
    solver_order: [2],
    use_flow_sigmas: OFF,
    use_dynamic_shifting: OFF,
    // diffusers reads the others' as its own.
    algorithm_type: ['deis', 'dpmsolver', 'dpmsolver++'],
    solver_type: ['logrho', 'midpoint', 'heun', 'bh1', 'bh2'],
  },
} as const satisfies Record<SamplerName, Readonly<Record<string, readonly unknown[]>>>;

/** All of them. */
export const SAMPLER_KEYS: readonly string[] = [...new Set(Object.values(KEYS).flatMap((keys) => Object.keys(keys)))];

/** The samplers that cannot do what a config asks for, with the reason. */
export function refusedSamplers(file: string, json: JsonObject): Partial<Record<SamplerName, string>> {
  const refused: Partial<Record<SamplerName, string>> = {};
  for (const [sampler, keys] of Object.entries(KEYS) as [SamplerName, Readonly<Record<string, readonly unknown[]>>][]) {
    const bad = Object.entries(keys).find(([key, values]) => Object.hasOwn(json, key) && !values.some((value) => isDeepStrictEqual(value, json[key])));
    if (bad === undefined) continue;
    const [key, values] = bad;
    refused[sampler] = `${brief(file)}: "${key}" is ${show(json[key])}, which the sampler ${sampler} does not implement; supported: ${values.map(show).join(' or ')}`;
  }
  return refused;
}
