import { z } from 'zod';
import { ConesError } from '../errors';
import { readRegions, REGION_PROMPTS, type RegionPrompt, type Regions } from '../engine/regions';
import { type ImageInput, readMetadata } from './images';
import { readA1111Parameters } from './read-a1111-parameters';
import { pictureName } from './picture-source';
import { SAMPLER_NAMES, type SamplerName } from '../diffusion/sampler-names';
import { PROMPT_SYNTAXES, type PromptSyntax } from '../text/prompt-syntax';
import { brief } from '../util/show';

/** How a picture was drawn, as its file says. */
export interface PictureSettings {
  /** Options of `engine.generate`; only its concepts are not among them. */
  readonly options: {
    readonly prompt: string;
    readonly negativePrompt: string;
    /** Absent: 'plain'. */
    readonly promptSyntax?: PromptSyntax;
    readonly seed: bigint;
    /** Pictures: more than one in a grid. */
    readonly count: number;
    /** Absent where another program drew it with one that is not there: the model's own. */
    readonly sampler?: SamplerName;
    readonly steps: number;
    readonly guidance: number;
    /** DDIM and TCD only. */
    readonly eta?: number;
    /** Absent where the sampler has no such spacing. */
    readonly useKarrasSigmas?: boolean;
    /** Of a picture that was drawn from another. */
    readonly strength?: number;
    readonly imageGuidance?: number;
    readonly posterior?: 'mode' | 'sample';
    /** Absent: the model's own. */
    readonly decoder?: 'own' | 'drafts';
    /** Pixels of one picture. */
    readonly width?: number;
    readonly height?: number;
    /** Where its subjects are. */
    readonly regions?: Regions;
    readonly feather?: number;
    readonly regionPrompt?: RegionPrompt;
    readonly embeddingNorm?: number;
  };
  /** What it was drawn from besides, by the hash of its pixels: the file does not hold it. None of a picture that was drawn from its prompt. */
  readonly drawnFrom: { readonly image?: string; readonly mask?: string; readonly depth?: string };
  /** The concepts' subjects, "V1* cat, V2* dog"; '' without concepts. */
  readonly subjects: string;
  /** `concept.hash` of each concept, in the order in which they were given. */
  readonly conceptHashes: readonly string[];
  /** `adapter.hash` and weight of each adapter, in the order in which they were given; and their names. */
  readonly adapters: readonly { readonly hash: string; readonly weight: number }[];
  readonly adapterNames: string;
  /** The base model's fingerprint. */
  readonly model: string | null;
  /** `engine.instructionSet` */
  readonly instructionSet: string | null;
  /** "cones" and its version. */
  readonly engine: string | null;
  /** Present where another program drew it: settings of its own, such as "Clip skip: 2", that no option stands for. */
  readonly ignored?: readonly string[];
}

const number = z.string().regex(/^\d+(?:\.\d+)?(?:e[+-]\d+)?$/, 'must be a number').transform(Number);
/** Far more than a picture has. */
const MOST_CONCEPTS = 256;
const sha256 = /^sha256:[0-9a-f]{64}$/;
const hashes = z
  .string()
  .default('')
  .transform((text) => (text === '' ? [] : text.split(', ')))
  .refine((list) => list.length <= MOST_CONCEPTS && list.every((hash) => sha256.test(hash)), `must be up to ${MOST_CONCEPTS} SHA-256 hashes`);
const name = z.string().max(200).default('').transform((text) => (text === '' ? null : text));

const schema = z.object({
  given: z.string().default(''),
  prompt: z.string().min(1),
  negativePrompt: z.string().default(''),
  promptSyntax: z.enum(PROMPT_SYNTAXES).optional(),
  // A grid has as many as it has pictures.
  seed: z.string().regex(/^\d{1,20}(?:, \d{1,20})*$/, 'must be a seed').transform((text) => text.split(', ').map(BigInt)),
  sampler: z.enum(SAMPLER_NAMES),
  steps: number,
  guidance: number,
  eta: number.optional(),
  strength: number.optional(),
  imageGuidance: number.optional(),
  posterior: z.enum(['mode', 'sample']).optional(),
  decoder: z.enum(['own', 'drafts']).optional(),
  imageHash: z.string().regex(sha256).optional(),
  maskHash: z.string().regex(sha256).optional(),
  depthHash: z.string().regex(sha256).optional(),
  useKarrasSigmas: z.enum(['true', 'false']).transform((text) => text === 'true').optional(),
  width: number.optional(),
  height: number.optional(),
  regions: z
    .string()
    .transform((text, issues) => readRegions(text) ?? (issues.addIssue({ code: 'custom', message: 'must be regions as cones writes them' }), z.NEVER))
    .optional(),
  feather: number.optional(),
  regionPrompt: z.enum(REGION_PROMPTS).optional(),
  embeddingNorm: number.optional(),
  concepts: z.string().default(''),
  conceptHashes: hashes,
  adapters: z.string().default(''),
  adapterHashes: hashes,
  adapterWeights: z
    .string()
    .default('')
    .transform((text) => (text === '' ? [] : text.split(', ').map(Number)))
    .refine((weights) => weights.every(Number.isFinite), 'must be numbers'),
  model: name,
  instructionSet: name,
  engine: name,
});

/**
 * How a picture was made, from its file or bytes: all that cones has written there; of other programs' pictures what their
 * `parameters` say in the form of stable-diffusion-webui.
 * @throws ConesError CONES_SETTINGS_MISSING when the file does not say so, CONES_IO, CONES_IMAGE_INVALID
 */
export async function readPictureSettings(source: ImageInput): Promise<PictureSettings> {
  const metadata = await readMetadata(source);
  const result = schema.safeParse(metadata);
  const what = pictureName(source);
  const foreign = metadata['prompt'] === undefined || metadata['engine'] === undefined ? readA1111Parameters(metadata['parameters'] ?? '') : undefined;
  if (foreign && foreign.prompt !== '') {
    const { ignored, ...options } = foreign;
    return {
      options: { ...options, count: 1 }, drawnFrom: {}, subjects: '', conceptHashes: [], adapters: [], adapterNames: '',
      model: null, instructionSet: null, engine: null, ignored,
    };
  }
  if (!result.success) {
    const { path, message } = result.error.issues[0]!;
    throw missing(`${what} does not say how it was drawn (${brief(path.map(String).join('.'))}: ${brief(message)}): give a picture as cones or stable-diffusion-webui has saved it`);
  }
  const { given, prompt, negativePrompt, promptSyntax, seed: seeds, sampler, steps, guidance, eta, useKarrasSigmas, width, height, regions, feather, regionPrompt, embeddingNorm, concepts, ...rest } = result.data;
  const { strength, imageGuidance, posterior, decoder, imageHash: image, maskHash: mask, depthHash: depth, ...others } = rest;
  const { adapters: adapterNames, adapterHashes, adapterWeights, ...origin } = others;
  if (adapterWeights.length !== adapterHashes.length) throw missing(`${what} does not say the weight of each of its adapters: give a picture as cones has saved it`);
  const adapters = adapterHashes.map((hash, i) => ({ hash, weight: adapterWeights[i]! }));
  if (given !== '') throw missing(`${what} was drawn from ${brief(given)} of its caller's own, which its file does not hold: give them to generate again`);
  const seed = seeds[0]!;
  if (!seeds.every((next, i) => next === BigInt.asUintN(64, seed + BigInt(i)))) throw missing(`${what} is a grid of pictures whose seeds do not follow one another: give one of its pictures`);
  const known = Object.fromEntries(
    Object.entries({ promptSyntax, eta, useKarrasSigmas, strength, imageGuidance, posterior, decoder, width, height, regions, feather, regionPrompt, embeddingNorm }).filter(([, value]) => value !== undefined),
  );
  const drawnFrom = { ...(image && { image }), ...(mask && { mask }), ...(depth && { depth }) };
  return { options: { prompt, negativePrompt, seed, count: seeds.length, sampler, steps, guidance, ...known }, drawnFrom, subjects: concepts, adapters, adapterNames, ...origin };
}

function missing(problem: string): ConesError {
  return new ConesError('CONES_SETTINGS_MISSING', `${problem}.`);
}
