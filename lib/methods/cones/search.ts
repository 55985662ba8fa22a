import { createHash } from 'node:crypto';
import type { NativeSearch } from '../../../typings/native';
import { Concept, type ConceptData, type ConceptTensor, type Subject } from '../../concept';
import { kindOf } from '../../device';
import { type Checkpointing, CHECKPOINTING } from '../../engine/checkpointing';
import type { Session } from '../../engine/session';
import { encodePrompts } from '../../engine/text';
import { ConesError } from '../../errors';
import { toConesError } from '../../native';
import { runInPieces } from '../../util/pieces';
import { alphasCumprod } from '../../diffusion/schedule';
import { show } from '../../util/show';
import { version } from '../../version';
import { type CaptionStates, firstCaptions, type HeldOutPair, heldOutPair, learnedCaptions } from '../shared/captions';
import { identifierOptions } from './identifier';
import { type Inputs, prepareInputs } from '../shared/inputs';
import {
  checkSelection,
  type FindConceptOptions,
  searchSettings,
  type SearchSettings,
  SHARES,
  type Selection,
  STRAIGHT_THROUGH_DENSITY,
  STRAIGHT_THROUGH_RAMP,
} from './options';
import { measure, type Untouched } from '../../analysis/measure';
import { LossHistory } from './loss-history';
import { joinMoments } from './moments';
import { refineInputs } from './refine';
import { type RefineConceptsOptions, refineSettings } from './refine-options';
import { type StepInput, stepOn } from './search-step';
import { packState, unpackState } from './state';

/**
 * A search for the concept neurons of one subject, step by step (`Engine.findConcept` is start, run and finish), or the joint
 * refinement of several (`Engine.refineConcepts`). One call at a time; dispose() frees its memory.
 */
export class ConceptSearch {
  readonly #session: Session;
  readonly #settings: SearchSettings;
  readonly #inputs: Inputs;
  readonly #search: NativeSearch;
  readonly #digest: Buffer;
  readonly #states: CaptionStates;
  readonly #losses: LossHistory;
  readonly #untouched: Untouched = {};

  private constructor(session: Session, settings: SearchSettings, inputs: Inputs, states: CaptionStates, search: NativeSearch, digest: Buffer, losses: LossHistory) {
    this.#session = session;
    this.#settings = settings;
    this.#inputs = inputs;
    this.#states = states;
    this.#search = search;
    this.#digest = digest;
    this.#losses = losses;
  }

  /** Encodes the pictures, draws the prior pictures and prepares the search; no step is taken yet. */
  static async start(session: Session, options: FindConceptOptions): Promise<ConceptSearch> {
    const settings = searchSettings(options);
    session.assertUsable();
    session.assertTextToImage('findConcept');
    const { images, priorImages, cacheDir, report } = settings;
    session.assertPathsAllowed('findConcept', { images, priorImages, cacheDir, 'report.clip': report.clip });
    return ConceptSearch.#open(session, settings, await prepareInputs(session, settings));
  }

  /** The same for the joint refinement of several concepts (paper §3.3). */
  static async startRefinement(session: Session, options: RefineConceptsOptions): Promise<ConceptSearch> {
    const settings = refineSettings(options);
    session.assertUsable();
    session.assertTextToImage('refineConcepts');
    const { subjects, search } = settings;
    session.assertPathsAllowed('refineConcepts', { 'subjects.images': subjects.flatMap(({ images, priorImages = [] }) => [...images, ...priorImages]), cacheDir: search.cacheDir });
    return ConceptSearch.#open(session, settings.search, await refineInputs(session, settings));
  }

  static async #open(session: Session, settings: SearchSettings, inputs: Inputs): Promise<ConceptSearch> {
    const { signal } = settings;
    const pictures = inputs.priorMoments ? joinMoments([inputs.subjectMoments, inputs.priorMoments]) : inputs.subjectMoments;
    const { texts, perPicture } = inputs.captions;
    const encoded = await encodePrompts(session, texts, texts.map(() => inputs.subjects), signal);
    for (const warning of encoded.warnings) settings.onWarning?.(warning);
    let captionCount = 0;
    const offsets = [0, ...perPicture.map(({ length }) => (captionCount += length))];
    const { range } = inputs;
    const priorBatch = inputs.priorMoments ? (settings.priorBatchSize ?? settings.batchSize) : 0;
    const batch = settings.batchSize + priorBatch;
    const [, , height, width] = pictures.shape;

    const nativeOptions = {
      batch: pictures.shape[0],
      height,
      width,
      moments: pictures.data,
      subjects: inputs.subjectMoments.shape[0],
      embeddings: encoded.data,
      tokens: encoded.shape[1],
      captions: Int32Array.from(perPicture.flat()),
      captionOffsets: Int32Array.from(offsets),
      latentScale: session.config.vae.scalingFactor,
      subjectBatch: settings.batchSize,
      priorBatch,
      priorWeight: settings.priorWeight,
      alphasCumprod: alphasCumprod(session.config.scheduler),
      prediction: session.config.scheduler.predictionType,
      minTimestep: range[0],
      maxTimestep: range[1],
      algorithm: settings.algorithm,
      optimizer: settings.optimizer,
      // The paper's rule: scaled by the batch size (App. B.4).
      learningRate: settings.learningRate * (settings.scaleLearningRate ? batch : 1),
      beta1: 0.9,
      beta2: 0.999,
      epsilon: 1e-8,
      clamp: settings.clamp,
      ...straightThrough(settings, weightCount(session, inputs.tensors)),
      tensors: Int32Array.from(inputs.tensors),
      seed: BigInt(settings.seed),
    };
    const identifier = settings.learnEmbedding ? await identifierOptions(session, settings, inputs.subjects[0]!, texts) : undefined;
    const within = inputs.within?.indicesFor(inputs.tensors.map((index) => session.kvTensors[index]!.name));
    const digest = digestOf(session.fingerprint, nativeOptions, identifier ?? {}, within ?? {});
    const state = settings.resume && (await runInPieces(unpackState(digest, session, settings.resume)));
    const search = await createSearch(session, settings, { ...nativeOptions, ...(within ? { within } : {}), ...(identifier ? { identifier } : {}) });
    session.addPart(search);
    if (state) {
      try {
        await session.job(signal, () => search.loadState(state.native));
      } catch (error) {
        session.removePart(search);
        throw error;
      }
    }
    return new ConceptSearch(session, settings, inputs, firstCaptions(inputs.captions, encoded), search, digest, state?.losses ?? new LossHistory());
  }

  /** Steps done so far. */
  get step(): number {
    this.#session.assertUsable();
    try {
      return this.#search.step;
    } catch (error) {
      throw toConesError(error);
    }
  }

  /**
   * Takes steps until `until` are done (default: the `steps` option). An abort rejects at once; a step whose backward had begun is
   * still taken to its end, and {@link save} waits for that, so the state is always whole. With the `checkpoint` option it saves as it
   * goes, and takes no step while the state is being saved.
   */
  async run(until: number = this.#settings.steps): Promise<void> {
    if (!Number.isSafeInteger(until) || until < 0) {
      throw new ConesError('CONES_OPTION_INVALID', `run: ${show(until)} is not a number of steps; give a whole number.`);
    }
    const { checkpoint } = this.#settings;
    const stepped = this.#reporter(until);
    for (let step = this.step, next = step; step < until; step = next) {
      next = checkpoint ? Math.min(until, step + checkpoint.every - (step % checkpoint.every)) : until;
      await this.#session.job(this.#settings.signal, (abort, guard) => this.#search.run({ steps: next - step, share: SHARES[this.#settings.priority], abort, onStep: guard(stepped) }));
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
      this.#settings.onProgress?.({ phase: 'search', step, steps: until, loss, subjectLoss, priorLoss, msPerStep, remainingMs: perStep * (until - step) });
    };
  }

  /**
   * One step on a batch of your own, with the noise, timesteps and captions that you give, not counted in the report's history. Not for
   * a search that learns its embedding.
   * @returns the loss before it, and the unweighted mean squared error of each row
   * @throws ConesError CONES_OPTION_INVALID, CONES_PROMPT_EMPTY, CONES_LOSS_NOT_FINITE, CONES_OUT_OF_MEMORY, CONES_ABORTED, CONES_DISPOSED
   */
  async stepOn(input: StepInput): Promise<{ readonly loss: number; readonly rows: Float64Array }> {
    const { learnEmbedding, signal } = this.#settings;
    return stepOn(this.#session, this.#search, input, { subjects: this.#inputs.subjects, learnEmbedding, signal });
  }

  /** The whole state, from which `resume` goes on bit by bit as if it had not been interrupted. */
  async save(): Promise<Buffer> {
    const state = await this.#session.job(undefined, () => this.#search.saveState());
    return runInPieces(packState(this.#digest, this.#session, this.#losses, state));
  }

  /** ξ's displacement 1 − ξ, or the summed score S, of every searched weight by tensor name, each `[out, in]`. */
  async ranking(by: 'displacement' | 'score' = this.#settings.ranking): Promise<ReadonlyMap<string, Float32Array>> {
    const values = await this.#session.job(undefined, () => this.#search.ranking(by));
    return new Map(this.#inputs.tensors.map((index, i) => [this.#session.kvTensors[index]!.name, values[i]!]));
  }

  /**
   * The neurons of a density (fraction of the searched weights) or threshold, without a report.
   * @throws ConesError CONES_OPTION_INVALID, also when neither is given: only {@link finish} can choose by itself
   */
  async select(selection: Selection): Promise<Concept> {
    const { density, threshold } = checkSelection('select', selection);
    const by = this.#settings.ranking;
    if (threshold !== undefined) {
      return await this.#concept(await this.#session.job(undefined, () => this.#search.selectThreshold(by, threshold)));
    }
    if (typeof density !== 'number') throw new ConesError('CONES_OPTION_INVALID', 'select: give a density or a threshold.');
    const count = Math.round(density * weightCount(this.#session, this.#inputs.tensors));
    const { indices } = await this.#session.job(undefined, () => this.#search.selectCount(by, count));
    return this.#concept(indices);
  }

  /** Chooses the neurons as the options say, measures them and returns the concept with its report. */
  async finish(selection?: Selection): Promise<Concept> {
    const { subjects, union, pair } = this.#inputs;
    return measure(this.#session, this.#settings, {
      subject: subjects[0]!,
      union,
      pair,
      untouched: this.#untouched,
      history: this.#losses.curve(),
      heldOut: (subject) => this.#heldOut(subject),
      selection: selection ? checkSelection('finish', selection) : this.#settings,
      select: (choice) => this.select(choice),
    });
  }

  /** Frees the search's memory; {@link Engine.dispose} does so, too. */
  dispose(): void {
    this.#session.removePart(this.#search);
  }

  async #heldOut(subject: Subject): Promise<HeldOutPair> {
    const { captions, subjectMoments, priorMoments, range } = this.#inputs;
    const { report, seed, signal } = this.#settings;
    const states = this.#settings.learnEmbedding && subject.embedding ? await learnedCaptions(this.#session, this.#states, subject, signal) : this.#states;
    return heldOutPair(captions, states, { subject: subjectMoments, prior: priorMoments }, {
      ...{ rows: report.rows, tokens: this.#session.tokenizer.maxLength, range },
      // Noise that no step saw.
      seed: BigInt.asUintN(64, BigInt(seed) ^ 0x68656c642d6f7574n),
    });
  }

  /** The subjects; a learned embedding as it is now. */
  async #subjects(): Promise<readonly Subject[]> {
    const { subjects } = this.#inputs;
    if (!this.#settings.learnEmbedding) return subjects;
    const values = await this.#session.job(undefined, () => this.#search.embedding());
    return [{ ...subjects[0]!, embedding: { dtype: 'float16', values } }];
  }

  async #concept(indices: readonly Uint32Array[]): Promise<Concept> {
    const tensors = new Map<string, ConceptTensor>();
    this.#inputs.tensors.forEach((index, i) => {
      const { name, shape } = this.#session.kvTensors[index]!;
      tensors.set(name, { shape, indices: indices[i]! });
    });
    return Concept.create({
      fingerprint: this.#session.fingerprint,
      subjects: await this.#subjects(),
      method: this.#inputs.method,
      steps: this.step,
      engineVersion: version,
      ...placeOf(this.#session),
      tensors,
    });
  }
}

/** What a concept says of where it was found: nothing of the CPU, which has but one precision. */
function placeOf({ device, precision }: Session): Pick<ConceptData, 'device' | 'precision'> {
  return device === 'cpu' ? {} : { device: kindOf(device), precision };
}

/** Number of searched weights. */
function weightCount(session: Session, tensors: readonly number[]): number {
  return tensors.reduce((sum, index) => {
    const [rows, columns] = session.kvTensors[index]!.shape;
    return sum + rows * columns;
  }, 0);
}

/** How many weights are shut while the search goes on, and the first step that shuts them all. */
function straightThrough(settings: SearchSettings, weights: number): { shut: number; ramp: number } {
  if (!settings.straightThrough) return { shut: 0, ramp: 0 };
  const density = settings.density === 'auto' ? STRAIGHT_THROUGH_DENSITY : settings.density;
  return { shut: Math.max(1, Math.round(density * weights)), ramp: STRAIGHT_THROUGH_RAMP };
}

/** With activations recomputed when keeping them would need more memory than there is. */
async function createSearch(
  session: Session,
  settings: SearchSettings,
  options: Omit<Parameters<Session['model']['createSearch']>[0], 'checkpointing'>,
): Promise<NativeSearch> {
  const create = async ([checkpointing, ...others]: readonly Checkpointing[]): Promise<NativeSearch> => {
    try {
      return await session.job(settings.signal, (abort) => session.model.createSearch({ ...options, checkpointing: checkpointing!, abort }));
    } catch (error) {
      if (others.length > 0 && error instanceof ConesError && error.code === 'CONES_OUT_OF_MEMORY') return create(others);
      throw error;
    }
  };
  return create(settings.checkpointing === undefined ? CHECKPOINTING : [settings.checkpointing]);
}

/** SHA-256 over everything that the native search was made from. */
function digestOf(fingerprint: string, ...parts: readonly object[]): Buffer {
  const hash = createHash('sha256').update(fingerprint);
  for (const [key, value] of parts.flatMap((part) => Object.entries(part) as [string, unknown][])) {
    hash.update(`\n${key}:`);
    hash.update(ArrayBuffer.isView(value) ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength) : String(value));
  }
  return hash.digest();
}

