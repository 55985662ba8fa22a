/** What a picture's file says about how it was made: all that it takes to draw it again (draw-again.ts). */
import { a1111Parameters } from '../images/a1111-parameters';
import type { Concept } from '../concept';
import type { ChosenAdapter } from './adapters';
import { DEFAULT_ETA, ETA_SAMPLERS, KARRAS_SAMPLERS, type SamplerName } from '../diffusion/sampler-names';
import { type Placed, regionsText } from './regions';
import type { PromptSyntax } from '../text/prompt-syntax';
import { version } from '../version';

/** What all pictures of a call have in common. */
export interface DrawnWith {
  readonly promptSyntax: PromptSyntax;
  readonly sampler: SamplerName;
  readonly steps: number;
  readonly guidance: number;
  readonly eta?: number | undefined;
  readonly feather?: number;
  readonly regionPrompt?: string;
  readonly embeddingNorm?: number | undefined;
  readonly width: number;
  readonly height: number;
  /** The base model's fingerprint. */
  readonly model: string;
  /** Results differ between instruction sets, in rounding. */
  readonly instructionSet: string;
  /** 'cpu' or 'cuda'. */
  readonly device: string;
  readonly precision: string;
  /** Karras' noise levels, where the sampler can have them. */
  readonly karras: boolean;
  /** Of pictures that are drawn from others. */
  readonly strength?: number | undefined;
  readonly imageGuidance?: number | undefined;
  readonly posterior?: 'mode' | 'sample';
  /** The autoencoder. */
  readonly decoder?: 'own' | 'drafts';
  /** Inputs that were the caller's own, so that the picture cannot be drawn again; '' for none. */
  readonly given?: string;
}

/** One picture. */
export interface Drawn {
  readonly prompt: string;
  readonly negativePrompt: string;
  readonly concepts: readonly Concept[];
  readonly adapters?: readonly ChosenAdapter[];
  readonly seed: bigint;
  /** What it was drawn from, by the hash of its pixels. */
  readonly hashes?: { readonly image: string; readonly mask?: string; readonly depth?: string } | undefined;
  /** Where its subjects are. */
  readonly placed?: Placed;
}

export function metadataOf(settings: DrawnWith, { prompt, negativePrompt, concepts, adapters = [], seed: number, hashes, placed }: Drawn): Record<string, string> {
  const { sampler, steps, guidance, width, height, model, instructionSet, device, precision } = settings;
  const karras = KARRAS_SAMPLERS.has(sampler) && settings.karras;
  const eta = ETA_SAMPLERS.has(sampler) ? (settings.eta ?? DEFAULT_ETA[sampler]) : undefined;
  const subjects = concepts.flatMap((concept) => concept.subjects.map(({ identifier, category }) => `${identifier} ${category}`));
  const [seed, engine] = [number.toString(), `cones ${version}`];
  return {
    prompt,
    negativePrompt,
    ...(settings.promptSyntax === 'plain' ? {} : { promptSyntax: settings.promptSyntax }),
    seed,
    sampler,
    steps: String(steps),
    guidance: String(guidance),
    ...(eta === undefined ? {} : { eta: String(eta) }),
    ...(KARRAS_SAMPLERS.has(sampler) ? { useKarrasSigmas: String(karras) } : {}),
    ...(settings.given ? { given: settings.given } : {}),
    ...(settings.decoder === 'drafts' ? { decoder: settings.decoder } : {}),
    ...(hashes ? { imageHash: hashes.image, ...(hashes.mask ? { maskHash: hashes.mask } : {}), ...(hashes.depth ? { depthHash: hashes.depth } : {}) } : {}),
    ...(hashes && settings.strength !== undefined ? { strength: String(settings.strength) } : {}),
    ...(hashes && settings.imageGuidance !== undefined ? { imageGuidance: String(settings.imageGuidance) } : {}),
    ...(hashes && settings.posterior === 'sample' ? { posterior: settings.posterior } : {}),
    width: String(width),
    height: String(height),
    concepts: subjects.join(', '),
    ...(placed ? { regions: regionsText(placed), feather: String(settings.feather), regionPrompt: String(settings.regionPrompt) } : {}),
    ...(settings.embeddingNorm === undefined ? {} : { embeddingNorm: String(settings.embeddingNorm) }),
    conceptHashes: concepts.map(({ hash }) => hash).join(', '),
    ...(adapters.length === 0
      ? {}
      : {
          adapters: adapters.map(({ adapter }) => adapter.name).join(', '),
          adapterHashes: adapters.map(({ adapter }) => adapter.hash).join(', '),
          adapterWeights: adapters.map(({ weight }) => String(weight)).join(', '),
        }),
    model,
    instructionSet,
    device,
    precision,
    engine,
    parameters: a1111Parameters({ prompt, negativePrompt, promptSyntax: settings.promptSyntax, seed, sampler, steps, guidance, eta, width, height, karras, engine, ...(hashes ? { strength: settings.strength } : {}) }),
  };
}
