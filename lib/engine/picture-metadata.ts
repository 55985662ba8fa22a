/** What a picture's file says about how it was made: all that it takes to draw it again (draw-again.ts). */
import { a1111Parameters } from '../images/a1111-parameters';
import type { Concept } from '../concept';
import type { SamplerName } from '../diffusion/schedule';
import { type Placed, regionsText } from './regions';
import { version } from '../version';

/** What all pictures of a call have in common. */
export interface DrawnWith {
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
  /** Whether the model's scheduler asks for Karras' noise levels. */
  readonly karras: boolean;
}

/** One picture. */
export interface Drawn {
  readonly prompt: string;
  readonly negativePrompt: string;
  readonly concepts: readonly Concept[];
  readonly seed: bigint;
  /** Where its subjects are. */
  readonly placed?: Placed;
}

export function metadataOf(settings: DrawnWith, { prompt, negativePrompt, concepts, seed: number, placed }: Drawn): Record<string, string> {
  const { sampler, steps, guidance, width, height, model, instructionSet, device, precision, karras } = settings;
  const eta = sampler === 'ddim' ? (settings.eta ?? 0) : undefined;
  const subjects = concepts.flatMap((concept) => concept.subjects.map(({ identifier, category }) => `${identifier} ${category}`));
  const [seed, engine] = [number.toString(), `cones ${version}`];
  return {
    prompt,
    negativePrompt,
    seed,
    sampler,
    steps: String(steps),
    guidance: String(guidance),
    ...(eta === undefined ? {} : { eta: String(eta) }),
    width: String(width),
    height: String(height),
    concepts: subjects.join(', '),
    ...(placed ? { regions: regionsText(placed), feather: String(settings.feather), regionPrompt: String(settings.regionPrompt) } : {}),
    ...(settings.embeddingNorm === undefined ? {} : { embeddingNorm: String(settings.embeddingNorm) }),
    conceptHashes: concepts.map(({ hash }) => hash).join(', '),
    model,
    instructionSet,
    device,
    precision,
    engine,
    parameters: a1111Parameters({ prompt, negativePrompt, seed, sampler, steps, guidance, eta, width, height, karras, engine }),
  };
}
