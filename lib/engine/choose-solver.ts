import { ETA_SAMPLERS, KARRAS_SAMPLERS, type SamplerName } from '../diffusion/sampler-names';
import { ConesError } from '../errors';
import type { Session } from './session';

interface Given {
  /** As `samplerOption` reads it. */
  readonly sampler?: { readonly sampler: SamplerName; readonly useKarrasSigmas?: true } | undefined;
  readonly eta?: number | undefined;
  readonly useKarrasSigmas?: boolean | undefined;
}

interface Chosen {
  readonly sampler: SamplerName;
  readonly eta: number | undefined;
  readonly useKarrasSigmas: boolean | undefined;
}

/** The sampler by its own name, with what its name says about its noise levels; the model's own where nobody chooses. */
export function chooseSolver<S extends Given>(call: string, settings: S, session: Session): Omit<S, keyof Given> & Chosen {
  const sampler = settings.sampler?.sampler ?? session.config.scheduler.sampler;
  const useKarrasSigmas = settings.useKarrasSigmas ?? settings.sampler?.useKarrasSigmas;
  if (settings.eta !== undefined && !ETA_SAMPLERS.has(sampler)) {
    throw new ConesError('CONES_OPTION_INVALID', `${call}: the option eta is for the samplers ${[...ETA_SAMPLERS].join(' and ')}, not for "${sampler}"; leave it out.`);
  }
  if (useKarrasSigmas === true && !KARRAS_SAMPLERS.has(sampler)) {
    throw new ConesError('CONES_OPTION_INVALID', `${call}: the sampler "${sampler}" has no Karras spacing; leave useKarrasSigmas out, or choose ${[...KARRAS_SAMPLERS].join(', ')}.`);
  }
  return { ...settings, sampler, eta: settings.eta, useKarrasSigmas };
}
