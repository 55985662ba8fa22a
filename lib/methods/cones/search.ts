import type { NativeIdentifier, NativeSearch } from '../../../typings/native';
import { Concept, type ConceptData, type ConceptTensor, type Subject } from '../../concept';
import { kindOf } from '../../device';
import type { Session } from '../../engine/session';
import { ConesError } from '../../errors';
import { version } from '../../version';
import { type CaptionStates, firstCaptions, type HeldOutPair, heldOutPair, learnedCaptions } from '../shared/captions';
import { ADAM, dataOptions, digestOf, withCheckpointing } from '../shared/data-options';
import { learnedIdentifiers, unnamedSubject } from '../shared/identifiers';
import { type Inputs, prepareInputs } from '../shared/inputs';
import { Stepwise } from '../shared/stepwise';
import {
  checkSelection,
  type FindConceptOptions,
  searchSettings,
  type SearchSettings,
  type Selection,
  STRAIGHT_THROUGH_DENSITY,
  STRAIGHT_THROUGH_RAMP,
} from './options';
import { measure, type Untouched } from '../../analysis/measure';
import { refineInputs } from './refine';
import { type RefineConceptsOptions, refineSettings } from './refine-options';
import { type StepInput, stepOn } from './search-step';

/**
 * A search for the concept neurons of one subject, step by step (`Engine.findConcept` is start, run and finish), or the joint
 * refinement of several (`Engine.refineConcepts`). One call at a time; dispose() frees its memory.
 */
export class ConceptSearch {
  readonly #session: Session;
  readonly #settings: SearchSettings;
  readonly #inputs: Inputs;
  readonly #steps: Stepwise<NativeSearch, 'search'>;
  readonly #states: CaptionStates;
  readonly #untouched: Untouched = {};

  private constructor(session: Session, settings: SearchSettings, inputs: Inputs, states: CaptionStates, steps: Stepwise<NativeSearch, 'search'>) {
    this.#session = session;
    this.#settings = settings;
    this.#inputs = inputs;
    this.#states = states;
    this.#steps = steps;
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
    const { data, encoded } = await dataOptions(session, settings, inputs);
    const { texts } = inputs.captions;

    const nativeOptions = {
      ...data,
      algorithm: settings.algorithm,
      optimizer: settings.optimizer,
      // The paper's rule: scaled by the batch size (App. B.4).
      learningRate: settings.learningRate * (settings.scaleLearningRate ? data.subjectBatch + data.priorBatch : 1),
      ...ADAM,
      clamp: settings.clamp,
      ...straightThrough(settings, weightCount(session, inputs.tensors)),
      tensors: Int32Array.from(inputs.tensors),
    };
    const identifier = settings.learnEmbedding ? await learnedIdentifier(session, settings, inputs.subjects[0]!, texts) : undefined;
    const within = inputs.within?.indicesFor(inputs.tensors.map((index) => session.kvTensors[index]!.name));
    const digest = digestOf(session.fingerprint, nativeOptions, identifier ?? {}, within ?? {});
    const options = { ...nativeOptions, ...(within ? { within } : {}), ...(identifier ? { identifier } : {}) };
    const create = () =>
      withCheckpointing(settings.checkpointing, (checkpointing) => session.job(signal, (abort) => session.model.createSearch({ ...options, checkpointing, abort })));
    const steps = await Stepwise.open(session, settings, { kind: 'search', phase: 'search', digest }, create);
    return new ConceptSearch(session, settings, inputs, firstCaptions(inputs.captions, encoded), steps);
  }

  /** Steps done so far. */
  get step(): number {
    return this.#steps.step;
  }

  /**
   * Takes steps until `until` are done (default: the `steps` option). An abort rejects at once; a step whose backward had begun is
   * still taken to its end, and {@link save} waits for that, so the state is always whole. With the `checkpoint` option it saves as it
   * goes, and takes no step while the state is being saved.
   */
  async run(until?: number): Promise<void> {
    return this.#steps.run(until);
  }

  /**
   * One step on a batch of your own, with the noise, timesteps and captions that you give, not counted in the report's history. Not for
   * a search that learns its embedding.
   * @returns the loss before it, and the unweighted mean squared error of each row
   * @throws ConesError CONES_OPTION_INVALID, CONES_PROMPT_EMPTY, CONES_LOSS_NOT_FINITE, CONES_OUT_OF_MEMORY, CONES_ABORTED, CONES_DISPOSED
   */
  async stepOn(input: StepInput): Promise<{ readonly loss: number; readonly rows: Float64Array }> {
    const { learnEmbedding, signal } = this.#settings;
    return stepOn(this.#session, this.#steps.native, input, { subjects: this.#inputs.subjects, learnEmbedding, signal });
  }

  /** The whole state, from which `resume` goes on bit by bit as if it had not been interrupted. */
  async save(): Promise<Buffer> {
    return this.#steps.save();
  }

  /** ξ's displacement 1 − ξ, or the summed score S, of every searched weight by tensor name, each `[out, in]`. */
  async ranking(by: 'displacement' | 'score' = this.#settings.ranking): Promise<ReadonlyMap<string, Float32Array>> {
    const values = await this.#session.job(undefined, () => this.#steps.native.ranking(by));
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
      return await this.#concept(await this.#session.job(undefined, () => this.#steps.native.selectThreshold(by, threshold)));
    }
    if (typeof density !== 'number') throw new ConesError('CONES_OPTION_INVALID', 'select: give a density or a threshold.');
    const count = Math.round(density * weightCount(this.#session, this.#inputs.tensors));
    const { indices } = await this.#session.job(undefined, () => this.#steps.native.selectCount(by, count));
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
      history: this.#steps.losses,
      heldOut: (subject) => this.#heldOut(subject),
      selection: selection ? checkSelection('finish', selection) : this.#settings,
      select: (choice) => this.select(choice),
    });
  }

  /** Frees the search's memory; {@link Engine.dispose} does so, too. */
  dispose(): void {
    this.#steps.dispose();
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
    const values = await this.#session.job(undefined, () => this.#steps.native.embedding());
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

/** @throws ConesError CONES_OPTION_INVALID when no caption names the subject */
async function learnedIdentifier(session: Session, settings: SearchSettings, subject: Subject, texts: readonly string[]): Promise<NativeIdentifier> {
  if (unnamedSubject([subject], texts)) {
    throw new ConesError(
      'CONES_OPTION_INVALID',
      `findConcept: the option learnEmbedding: no caption has the identifier ${subject.identifier}; put it into the captions.`,
    );
  }
  const learned = learnedIdentifiers(session, [subject], texts, { init: settings.embeddingInit, learningRate: settings.embeddingRate, weightDecay: 0 });
  return { ...learned, ...(settings.embeddingNorm === undefined ? {} : { normLimit: settings.embeddingNorm * (await session.wordNorm(settings.signal)) }) };
}
