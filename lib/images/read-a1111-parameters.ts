/** A picture's `parameters`, as stable-diffusion-webui (AUTOMATIC1111) and those that write like it have them, as options of a drawing. */
import { ETA_SAMPLERS, KARRAS_SAMPLERS, samplerByName, type SamplerName } from '../diffusion/sampler-names';
import { brief } from '../util/show';

export interface ReadParameters {
  readonly prompt: string;
  readonly negativePrompt: string;
  readonly promptSyntax: 'weighted';
  readonly seed: bigint;
  readonly steps: number;
  readonly guidance: number;
  /** Absent where there is none of that name. */
  readonly sampler?: SamplerName;
  readonly useKarrasSigmas?: boolean;
  readonly eta?: number;
  readonly width?: number;
  readonly height?: number;
  /** Pairs such as "Clip skip: 2" that no option stands for. */
  readonly ignored: readonly string[];
}

/** Longer ones have no such line at their end. */
const LONGEST_LINE = 2 ** 16;
const NEGATIVE = 'Negative prompt:';
/** A text's last line is none of settings when it has fewer. */
const FEWEST_PAIRS = 3;

/** Those whose "Automatic" noise levels are Karras', since its version 1.9. */
const AUTOMATIC_KARRAS: ReadonlySet<SamplerName> = new Set<SamplerName>(['dpm-solver-multistep', 'kdpm2', 'kdpm2-ancestral']);

/** Say nothing about the picture, or what is so here anyway. */
const SAYS_NOTHING = /^(?:Version: .*|Clip skip: 1|Emphasis: Original|Eta: 1(?:\.0)?)$/;

/** Undefined where a text is something else, or lacks what it takes to draw: steps, guidance and seed. */
export function readA1111Parameters(text: string): ReadParameters | undefined {
  const lines = text.trim().split('\n');
  const pairs = splitPairs(lines.pop() ?? '');
  if (pairs.length < FEWEST_PAIRS) return undefined;
  const values = new Map(pairs);
  const take = (name: string, form: RegExp): string | undefined => {
    const value = values.get(name);
    if (value === undefined || !form.test(value)) return undefined;
    values.delete(name);
    return value;
  };
  const [steps, guidance, seed] = [take('Steps', /^\d{1,5}$/), take('CFG scale', /^\d{1,5}(?:\.\d{1,20})?$/), take('Seed', /^\d{1,20}$/)];
  if (steps === undefined || guidance === undefined || seed === undefined) return undefined;
  const size = take('Size', /^\d{1,5}x\d{1,5}$/)?.split('x').map(Number);
  const solver = readSolver(values);
  const eta = solver.sampler && ETA_SAMPLERS.has(solver.sampler) ? (take('Eta DDIM', /^[01](?:\.\d{1,20})?$/) ?? take('Eta', /^[01](?:\.\d{1,20})?$/)) : undefined;
  const at = lines.findIndex((line) => line.startsWith(NEGATIVE));
  const joined = (some: readonly string[]) => some.map((line) => line.trim()).join('\n');
  return {
    prompt: joined(at < 0 ? lines : lines.slice(0, at)),
    negativePrompt: at < 0 ? '' : joined([lines[at]!.slice(NEGATIVE.length), ...lines.slice(at + 1)]),
    promptSyntax: 'weighted',
    seed: BigInt(seed),
    steps: Number(steps),
    guidance: Number(guidance),
    ...solver,
    ...(eta === undefined ? {} : { eta: Number(eta) }),
    ...(size ? { width: size[0]!, height: size[1]! } : {}),
    ignored: [...values].map(([name, value]) => `${name}: ${brief(value)}`).filter((pair) => !SAYS_NOTHING.test(pair)),
  };
}

/** Takes out what it understands. Before version 1.9 the spacing was part of the sampler's name. */
function readSolver(values: Map<string, string>): { sampler?: SamplerName; useKarrasSigmas?: boolean } {
  const found = samplerByName((values.get('Sampler') ?? '').slice(0, 100));
  if (found === undefined) return {};
  const { sampler } = found;
  values.delete('Sampler');
  const type = values.get('Schedule type');
  const automatic = AUTOMATIC_KARRAS.has(sampler) ? 'Karras' : sampler === 'dpm-solver-multistep-sde' ? 'Exponential' : 'Uniform';
  const spacing = type === 'Automatic' ? automatic : (type ?? (found.useKarrasSigmas ? 'Karras' : 'Uniform'));
  if (type === undefined || spacing === 'Uniform' || (spacing === 'Karras' && KARRAS_SAMPLERS.has(sampler))) values.delete('Schedule type');
  return KARRAS_SAMPLERS.has(sampler) ? { sampler, useKarrasSigmas: spacing === 'Karras' } : { sampler };
}

/** "Name: value" pairs between commas; a value may be in quotes, and has commas then. */
function splitPairs(line: string): [name: string, value: string][] {
  if (line.length > LONGEST_LINE) return [];
  const parts: string[] = [];
  let [start, quoted] = [0, false];
  for (let i = 0; i < line.length; i++) {
    if (line[i] === '"') quoted = !quoted;
    else if (line[i] === '\\' && quoted) i++;
    else if (line[i] === ',' && !quoted) {
      parts.push(line.slice(start, i));
      start = i + 1;
    }
  }
  parts.push(line.slice(start));
  return parts.flatMap((part): [string, string][] => {
    const colon = part.indexOf(':');
    const name = part.slice(0, Math.max(colon, 0)).trim();
    return /^\w[\w \-/]+$/.test(name) ? [[name, part.slice(colon + 1).trim()]] : [];
  });
}
