/** The samplers' names, and what others call them. */

/** The first is what draws where a model's folder names none that there is. */
export const SAMPLER_NAMES = [
  ...(['dpm-solver-multistep', 'ddim', 'euler', 'euler-ancestral', 'heun', 'kdpm2', 'kdpm2-ancestral', 'lms', 'pndm'] as const),
  ...(['dpm-solver-multistep-sde', 'dpm-solver-singlestep', 'unipc-multistep', 'lcm', 'tcd', 'deis-multistep'] as const),
] as const;

export type SamplerName = (typeof SAMPLER_NAMES)[number];

/** `own`, or else the first that can do what a model's config asks for. */
export function usableSampler({ refused }: { readonly refused: Readonly<Partial<Record<SamplerName, string>>> }, own: SamplerName = SAMPLER_NAMES[0]): SamplerName {
  return [own, ...SAMPLER_NAMES].find((name) => refused[name] === undefined) ?? SAMPLER_NAMES[0];
}

/** As stable-diffusion-webui (AUTOMATIC1111) calls them; TCD and DEIS are called so by everybody. */
export const A1111_NAMES: Readonly<Record<SamplerName, string>> = {
  'dpm-solver-multistep': 'DPM++ 2M',
  ddim: 'DDIM',
  euler: 'Euler',
  'euler-ancestral': 'Euler a',
  heun: 'Heun',
  kdpm2: 'DPM2',
  'kdpm2-ancestral': 'DPM2 a',
  lms: 'LMS',
  pndm: 'PLMS',
  'dpm-solver-multistep-sde': 'DPM++ 2M SDE',
  'dpm-solver-singlestep': 'DPM++ 2S',
  'unipc-multistep': 'UniPC',
  lcm: 'LCM',
  tcd: 'TCD',
  'deis-multistep': 'DEIS',
};

/** Those whose noise levels can be spaced as Karras et al. have it. */
export const KARRAS_SAMPLERS: ReadonlySet<SamplerName> = new Set<SamplerName>([
  ...(['dpm-solver-multistep', 'euler', 'heun', 'kdpm2', 'kdpm2-ancestral', 'lms'] as const),
  ...(['dpm-solver-multistep-sde', 'dpm-solver-singlestep', 'unipc-multistep', 'deis-multistep'] as const),
]);

/** What `eta` is where nobody says. */
export const DEFAULT_ETA: Readonly<Partial<Record<SamplerName, number>>> = { ddim: 0, tcd: 0.3 };

/** Those that `eta` says something to. */
export const ETA_SAMPLERS: ReadonlySet<SamplerName> = new Set<SamplerName>(['ddim', 'tcd']);

/**
 * A sampler by its own name or by A1111's, as model cards quote it: "DPM++ 2M Karras", "Euler a"; upper and lower case are one.
 * Undefined: nobody's name.
 */
export function samplerByName(text: string): { sampler: SamplerName; useKarrasSigmas?: true } | undefined {
  const wanted = text.trim().toLowerCase();
  for (const karras of [false, true]) {
    const name = karras ? wanted.replace(/ karras$/, '') : wanted;
    const sampler = SAMPLER_NAMES.find((own) => own === name || A1111_NAMES[own].toLowerCase() === name);
    if (sampler === undefined || (karras && !KARRAS_SAMPLERS.has(sampler))) continue;
    return karras ? { sampler, useKarrasSigmas: true } : { sampler };
  }
  return undefined;
}
