/**
 * Keys of a scheduler config that concern some of the samplers only, as diffusers' `from_config` reads them, with the values that are
 * implemented. One that a sampler does not have says nothing about its pictures.
 */
import { isDeepStrictEqual } from 'node:util';
import { brief, show } from '../util/show';
import type { JsonObject } from './read-json';

const OFF = [false, null];

const KEYS = {
  'dpm-solver-multistep': {
    thresholding: OFF,
    algorithm_type: ['dpmsolver++', 'deis'],
    solver_order: [2],
    // diffusers reads the others' solver types as midpoint.
    solver_type: ['midpoint', 'bh1', 'bh2', 'logrho'],
    final_sigmas_type: ['zero'],
    lambda_min_clipped: [-Infinity, null],
    variance_type: [null, 'fixed_small', 'fixed_small_log', 'fixed_large', 'fixed_large_log'],
    use_beta_sigmas: OFF,
    use_exponential_sigmas: OFF,
    use_flow_sigmas: OFF,
    use_lu_lambdas: OFF,
    use_dynamic_shifting: OFF,
    sigma_min: [null],
    sigma_max: [null],
  },
  ddim: { thresholding: OFF },
  euler: {
    interpolation_type: ['linear'],
    timestep_type: ['discrete'],
    final_sigmas_type: ['zero'],
    use_beta_sigmas: OFF,
    use_exponential_sigmas: OFF,
    sigma_min: [null],
    sigma_max: [null],
  },
} as const satisfies Record<string, Readonly<Record<string, readonly unknown[]>>>;

type Sampler = keyof typeof KEYS;

/** All of them. */
export const SAMPLER_KEYS: readonly string[] = [...new Set(Object.values(KEYS).flatMap((keys) => Object.keys(keys)))];

/** The samplers that cannot do what a config asks for, with the reason. */
export function refusedSamplers(file: string, json: JsonObject): Partial<Record<Sampler, string>> {
  const refused: Partial<Record<Sampler, string>> = {};
  for (const [sampler, keys] of Object.entries(KEYS) as [Sampler, Readonly<Record<string, readonly unknown[]>>][]) {
    const bad = Object.entries(keys).find(([key, values]) => Object.hasOwn(json, key) && !values.some((value) => isDeepStrictEqual(value, json[key])));
    if (bad === undefined) continue;
    const [key, values] = bad;
    refused[sampler] = `${brief(file)}: "${key}" is ${show(json[key])}, which the sampler ${sampler} does not implement; supported: ${values.map(show).join(' or ')}`;
  }
  return refused;
}
