import type { NativeTraining } from '../../../typings/native';
import type { Session } from '../../engine/session';
import { ADAM, dataOptions, digestOf, type LearningInputs, withCheckpointing } from '../shared/data-options';
import { learnedIdentifiers } from '../shared/identifiers';
import { Stepwise } from '../shared/stepwise';
import { trainInputs } from './inputs';
import { type TrainOptions, trainSettings, type TrainSettings } from './options';
import { Trained } from './trained';

/**
 * A training of one of the methods that the paper compares with, step by step (`Engine.train` is start, run and finish). One call at a
 * time; dispose() frees its memory.
 */
export class Training {
  readonly #session: Session;
  readonly #settings: TrainSettings;
  readonly #inputs: LearningInputs;
  readonly #steps: Stepwise<NativeTraining, 'train'>;

  private constructor(session: Session, settings: TrainSettings, inputs: LearningInputs, steps: Stepwise<NativeTraining, 'train'>) {
    this.#session = session;
    this.#settings = settings;
    this.#inputs = inputs;
    this.#steps = steps;
  }

  /** Encodes the pictures, draws the prior pictures and prepares the training; no step is taken yet. */
  static async start(session: Session, options: TrainOptions): Promise<Training> {
    const settings = trainSettings(options);
    session.assertUsable();
    session.assertTextToImage('train');
    session.assertPathsAllowed('train', { images: settings.subjects.flatMap(({ images, priorImages = [] }) => [...images, ...priorImages]), cacheDir: settings.cacheDir });
    const { signal, method } = settings;
    const inputs = await trainInputs(session, settings);
    const { data } = await dataOptions(session, settings, inputs);
    const { learningRate, weightDecay } = settings;
    const nativeOptions = { ...data, ...trainedWeights(session, method), learningRate, weightDecay, ...ADAM };
    const identifier = method === 'dreambooth' ? undefined : learnedIdentifiers(session, inputs.subjects, inputs.captions.texts, { init: settings.embeddingInit, learningRate, weightDecay });
    const digest = digestOf(session.fingerprint, { method }, nativeOptions, identifier ?? {});
    const create = () =>
      withCheckpointing(settings.checkpointing, (checkpointing) =>
        session.job(signal, (abort) => session.model.createTraining({ ...nativeOptions, ...(identifier ? { identifier } : {}), checkpointing, abort })),
      );
    return new Training(session, settings, inputs, await Stepwise.open(session, settings, { kind: 'training', phase: 'train', digest }, create));
  }

  /** Steps done so far. */
  get step(): number {
    return this.#steps.step;
  }

  /**
   * Takes steps until `until` are done (default: the `steps` option). An abort leaves the state of the last whole step. With the
   * `checkpoint` option it saves as it goes, and takes no step while the state is being saved.
   */
  async run(until?: number): Promise<void> {
    return this.#steps.run(until);
  }

  /** The whole state, from which `resume` goes on bit by bit as if it had not been interrupted. */
  async save(): Promise<Buffer> {
    return this.#steps.save();
  }

  /** What it has made so far, copied: the training may go on. */
  async finish(): Promise<Trained> {
    const { subjects } = this.#inputs;
    const { method } = this.#settings;
    const { native } = this.#steps;
    const weights = await this.#session.job(undefined, () => native.weights());
    const learned = method === 'dreambooth' ? undefined : await this.#session.job(undefined, () => native.embeddings());
    const width = (learned?.length ?? 0) / subjects.length;
    return new Trained({
      method,
      subjects,
      steps: this.step,
      embeddings: new Map(subjects.flatMap(({ identifier }, i) => (learned ? [[identifier, { shape: [1, width], values: learned.slice(i * width, (i + 1) * width) }]] : []))),
      weights: new Map(weights.map(({ name, shape, values }) => [name, { shape, values }])),
      modelFolder: this.#session.config.folder,
    });
  }

  /** Frees the training's memory; {@link Engine.dispose} does so, too. */
  dispose(): void {
    this.#steps.dispose();
  }
}

/** What each method trains beside embeddings. */
export function trainedWeights(session: Session, method: TrainSettings['method']) {
  if (method === 'textual-inversion') return { weights: 'none' } as const;
  if (method === 'dreambooth') return { weights: 'unet' } as const;
  const cross = session.kvTensors.flatMap(({ name }, index) => (name.includes('.attn2.') ? [index] : []));
  return { weights: 'kv', tensors: Int32Array.from(cross), firstTokenFixed: true } as const;
}
