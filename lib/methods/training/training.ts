import type { NativeTraining } from '../../../typings/native';
import type { Session } from '../../engine/session';
import { ConesError } from '../../errors';
import { toConesError } from '../../native';
import { runInPieces } from '../../util/pieces';
import { show } from '../../util/show';
import { LossHistory } from '../cones/loss-history';
import { SHARES } from '../cones/options';
import { packState, unpackState } from '../cones/state';
import { ADAM, dataOptions, digestOf, type LearningInputs, withCheckpointing } from '../shared/data-options';
import { learnedIdentifiers } from '../shared/identifiers';
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
  readonly #training: NativeTraining;
  readonly #digest: Buffer;
  readonly #losses: LossHistory;

  private constructor(session: Session, settings: TrainSettings, inputs: LearningInputs, training: NativeTraining, digest: Buffer, losses: LossHistory) {
    this.#session = session;
    this.#settings = settings;
    this.#inputs = inputs;
    this.#training = training;
    this.#digest = digest;
    this.#losses = losses;
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
    const state = settings.resume && (await runInPieces(unpackState(digest, session, settings.resume, 'training')));
    const training = await withCheckpointing(settings.checkpointing, (checkpointing) =>
      session.job(signal, (abort) => session.model.createTraining({ ...nativeOptions, ...(identifier ? { identifier } : {}), checkpointing, abort })),
    );
    session.addPart(training);
    if (state) {
      try {
        await session.job(signal, () => training.loadState(state.native));
      } catch (error) {
        session.removePart(training);
        throw error;
      }
    }
    return new Training(session, settings, inputs, training, digest, state?.losses ?? new LossHistory());
  }

  /** Steps done so far. */
  get step(): number {
    this.#session.assertUsable();
    try {
      return this.#training.step;
    } catch (error) {
      throw toConesError(error);
    }
  }

  /**
   * Takes steps until `until` are done (default: the `steps` option). An abort leaves the state of the last whole step. With the
   * `checkpoint` option it saves as it goes, and takes no step while the state is being saved.
   */
  async run(until: number = this.#settings.steps): Promise<void> {
    if (!Number.isSafeInteger(until) || until < 0) {
      throw new ConesError('CONES_OPTION_INVALID', `run: ${show(until)} is not a number of steps; give a whole number.`);
    }
    const { checkpoint, signal, priority } = this.#settings;
    const stepped = this.#reporter(until);
    for (let step = this.step, next = step; step < until; step = next) {
      next = checkpoint ? Math.min(until, step + checkpoint.every - (step % checkpoint.every)) : until;
      await this.#session.job(signal, (abort, guard) => this.#training.run({ steps: next - step, share: SHARES[priority], abort, onStep: guard(stepped) }));
      await checkpoint?.save(await this.save(), next);
    }
  }

  /** Keeps the losses of steps and tells of them, up to step `until`. */
  #reporter(until: number) {
    const begin = this.step;
    const start = performance.now();
    return (step: number, loss: number, subjectLoss: number, priorLoss: number, msPerStep: number) => {
      this.#losses.add(step, subjectLoss, priorLoss);
      const perStep = (performance.now() - start) / (step - begin);
      this.#settings.onProgress?.({ phase: 'train', step, steps: until, loss, subjectLoss, priorLoss, msPerStep, remainingMs: perStep * (until - step) });
    };
  }

  /** The whole state, from which `resume` goes on bit by bit as if it had not been interrupted. */
  async save(): Promise<Buffer> {
    const state = await this.#session.job(undefined, () => this.#training.saveState());
    return runInPieces(packState(this.#digest, this.#session, this.#losses, state, 'training'));
  }

  /** What it has made so far, copied: the training may go on. */
  async finish(): Promise<Trained> {
    const { subjects } = this.#inputs;
    const { method } = this.#settings;
    const weights = await this.#session.job(undefined, () => this.#training.weights());
    const learned = method === 'dreambooth' ? undefined : await this.#session.job(undefined, () => this.#training.embeddings());
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
    this.#session.removePart(this.#training);
  }
}

/** What each method trains beside embeddings. */
export function trainedWeights(session: Session, method: TrainSettings['method']) {
  if (method === 'textual-inversion') return { weights: 'none' } as const;
  if (method === 'dreambooth') return { weights: 'unet' } as const;
  const cross = session.kvTensors.flatMap(({ name }, index) => (name.includes('.attn2.') ? [index] : []));
  return { weights: 'kv', tensors: Int32Array.from(cross), firstTokenFixed: true } as const;
}
