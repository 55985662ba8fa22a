import { isDeepStrictEqual, types } from 'node:util';
import { decodeConceptFile, encodeConceptFile, fileLength, FORMAT_VERSION, PREFIX_BYTES } from './concept-file/container';
import { checkData } from './concept-file/data';
import { conceptHash } from './concept-file/hash';
import { weightsOf } from './concept-file/header';
import { type LayerOverlap, type Overlap, tensorOverlap, totalOverlap } from './concept-file/overlap';
import { runAtOnce, runInPieces } from './util/pieces';
import { difference, equal, intersection, union } from './concept-file/sets';
import type { ConceptData, ConceptTensor, Json, Subject } from './concept-file/types';
import { ConesError } from './errors';
import { readBeginning, readRegularFile, writeFileAtomic } from './util/files';
import { identifierKey, inNfc } from './text/identifier-key';
import { joinSubjects } from './text/prompt';
import { ownOptions, reading } from './util/reading';
import { brief, show } from './util/show';

export type { LayerOverlap, Overlap } from './concept-file/overlap';
export type { ConceptData, ConceptTensor, IdentifierEmbedding, Json, Subject } from './concept-file/types';

/** What {@link Concept.with} can exchange. */
const PARTS: readonly string[] = ['fingerprint', 'subjects', 'method', 'steps', 'engineVersion', 'device', 'precision', 'report', 'tensors'] satisfies (keyof ConceptData)[];

/** What `cones inspect --json` prints. */
export interface ConceptInfo {
  readonly formatVersion: number;
  /** {@link Concept.hash} */
  readonly hash: string;
  readonly fingerprint: string;
  readonly subjects: readonly {
    readonly identifier: string;
    readonly token: string;
    readonly category: string;
    readonly embedding: { readonly dtype: string; readonly length: number } | null;
  }[];
  readonly method: string;
  readonly steps: number;
  readonly engineVersion: string;
  /** Where the search ran, 'cpu' or 'cuda', and how precisely; null where there was none. */
  readonly device: string | null;
  readonly precision: string | null;
  readonly neuronCount: number;
  readonly weightCount: number;
  readonly density: number;
  /** Size of the file in bytes. */
  readonly byteLength: number;
  readonly tensors: readonly {
    readonly name: string;
    readonly shape: readonly number[];
    readonly neuronCount: number;
    readonly density: number;
    readonly coding: 'golomb' | 'bitmap';
    /** Bytes that its neurons take in the file. */
    readonly byteLength: number;
  }[];
  readonly report: { readonly [key: string]: Json } | null;
}

/**
 * The concept neurons of one or more subjects: a set of K-V weights of one base model that, shut to zero,
 * make it draw them. Immutable; a `.cones` file in memory (docs/reference/concept-file.md).
 */
export class Concept implements ConceptData {
  readonly fingerprint: string;
  readonly subjects: readonly Subject[];
  readonly method: string;
  readonly steps: number;
  readonly engineVersion: string;
  readonly device?: string;
  readonly precision?: string;
  readonly report?: { readonly [key: string]: Json };
  /** Copies: what is written to them changes nothing here. */
  declare readonly tensors: ReadonlyMap<string, ConceptTensor>;
  readonly #tensors: ReadonlyMap<string, ConceptTensor>;
  /** Number of concept neurons. */
  readonly neuronCount: number;
  /** Number of weights among which they were chosen: the elements of all `tensors`. */
  readonly weightCount: number;
  #hash: string | undefined;

  /** `data` must have been checked, and belong to nobody else. */
  private constructor(data: ConceptData) {
    this.fingerprint = data.fingerprint;
    this.subjects = Object.freeze(data.subjects.map(guardEmbedding));
    this.method = data.method;
    this.steps = data.steps;
    this.engineVersion = data.engineVersion;
    if (data.device !== undefined) this.device = data.device;
    if (data.precision !== undefined) this.precision = data.precision;
    if (data.report) this.report = data.report;
    this.#tensors = data.tensors;
    const guarded = [...data.tensors].map(([name, tensor]) => [name, guardIndices(tensor)] as const);
    // Its own, not the class's, so that `{ ...concept }` has it.
    Object.defineProperty(this, 'tensors', { get: () => new Map(guarded), enumerable: true });
    const tensors = [...data.tensors.values()];
    this.neuronCount = tensors.reduce((sum, { indices }) => sum + indices.length, 0);
    this.weightCount = tensors.reduce((sum, { shape }) => sum + weightsOf(shape), 0);
    Object.freeze(this);
  }

  /**
   * A concept from its parts, which are copied. Values of `float16` embeddings are rounded to halves, so that
   * saving changes nothing.
   *
   * @throws ConesError `CONES_OPTION_INVALID` when a part is missing, of the wrong type or out of range
   */
  static create(data: ConceptData): Concept {
    return new Concept(checkData(data));
  }

  /** @throws ConesError `CONES_CONCEPT_CORRUPT` when `bytes` are not a whole, undamaged concept file */
  static fromBuffer(bytes: Uint8Array): Concept {
    if (!types.isUint8Array(bytes)) throw new ConesError('CONES_OPTION_INVALID', 'Concept.fromBuffer takes the bytes of a concept file: a Buffer or a Uint8Array.');
    return new Concept(runAtOnce(decodeConceptFile(bytes)));
  }

  /** @throws ConesError `CONES_IO` when the file cannot be read, `CONES_CONCEPT_CORRUPT` when it is no concept file */
  static async load(path: string): Promise<Concept> {
    assertPath('Concept.load', path);
    await assertPlausibleSize(path);
    const bytes = await readRegularFile(path);
    try {
      return new Concept(await runInPieces(decodeConceptFile(bytes)));
    } catch (cause) {
      if (cause instanceof ConesError) throw new ConesError(cause.code, `${brief(path)}: ${cause.message}`, { cause });
      throw cause;
    }
  }

  /** The bytes of a concept file. */
  toBuffer(): Buffer {
    return runAtOnce(encodeConceptFile(this.#data())).bytes;
  }

  /**
   * Saves the concept so that a crash leaves either the old file or the new one.
   *
   * @throws ConesError `CONES_IO`
   */
  async save(path: string): Promise<void> {
    assertPath('concept.save', path);
    const { bytes } = await runInPieces(encodeConceptFile(this.#data()));
    await writeFileAtomic(path, bytes);
  }

  /** This concept with some parts exchanged: other neurons (`tensors`), another identifier (`subjects`) … */
  with(changes: Partial<ConceptData>): Concept {
    const own = ownOptions('concept.with', changes);
    const strange = Object.keys(own).find((key) => !PARTS.includes(key));
    if (strange !== undefined) {
      throw new ConesError('CONES_OPTION_INVALID', `concept.with: a concept has no ${show(strange)}; it has ${PARTS.join(', ')}.`);
    }
    return Concept.create({ ...this.#data(), ...own });
  }

  /**
   * This concept with another name for its subject, so that it goes with one that has the same: concepts of different users are both
   * found as `V1*`.
   *
   * @param instead which of several subjects is meant: its identifier so far
   * @throws ConesError `CONES_OPTION_INVALID` when the name is none, another subject has it, or it is not clear which one is meant
   */
  withIdentifier(identifier: string, instead?: string): Concept {
    const [only, more] = this.subjects;
    const key = typeof instead === 'string' ? identifierKey(instead) : instead;
    const renamed = key === undefined ? (more ? undefined : only) : this.subjects.find((subject) => identifierKey(subject.identifier) === key);
    if (renamed === undefined) {
      const names = brief(this.subjects.map((subject) => subject.identifier).join(', '));
      throw new ConesError('CONES_OPTION_INVALID', `concept.withIdentifier: say which subject is meant, as the second argument: this concept has ${names}.`);
    }
    return this.with({ subjects: this.subjects.map((subject) => (subject === renamed ? { ...subject, identifier } : subject)) });
  }

  /** Its parts, not copied. */
  #data(): ConceptData {
    const { fingerprint, subjects, method, steps, engineVersion, device, precision, report } = this;
    const optional = { ...(device ? { device } : {}), ...(precision ? { precision } : {}), ...(report ? { report } : {}) };
    return { fingerprint, subjects, method, steps, engineVersion, tensors: this.#tensors, ...optional };
  }

  /** Fraction of the weights that are concept neurons: "sparsity" in the paper's Table 2, where 0.0132 is typical. */
  get density(): number {
    return this.neuronCount / this.weightCount;
  }

  /** SHA-256 over what the concept draws: base model, subjects and neurons. Pictures name their concepts by it. */
  get hash(): string {
    return (this.#hash ??= conceptHash(this.#data()));
  }

  /** @throws ConesError `CONES_CONCEPT_MISMATCH` unless the concept was made for the base model with this fingerprint */
  assertBaseModel(fingerprint: string): void {
    if (fingerprint === this.fingerprint) return;
    throw new ConesError(
      'CONES_CONCEPT_MISMATCH',
      `The concept of ${brief(this.subjects.map(({ identifier }) => identifier).join(', '))} was made for the base model ${show(this.fingerprint)}, ` +
        `but this is ${show(fingerprint)}: load the model that it was made for, or find the concept again with this one.`,
    );
  }

  /**
   * The neurons of the given weights in the given order, as the native core wants them; an empty array for a
   * weight in which the concept has none. The arrays are copies.
   *
   * @throws ConesError `CONES_CONCEPT_MISMATCH` when the concept has neurons in a weight that is not named
   */
  indicesFor(tensorNames: readonly string[]): Uint32Array[] {
    if (!Array.isArray(tensorNames)) throw new ConesError('CONES_OPTION_INVALID', 'concept.indicesFor takes a list of weight names.');
    const names = reading('concept.indicesFor', () => [...(tensorNames as readonly string[])]);
    const named = new Set(names);
    for (const [name, { indices }] of this.#tensors) {
      if (indices.length > 0 && !named.has(name)) {
        throw new ConesError('CONES_CONCEPT_MISMATCH', `The concept has neurons in ${name}, which this model lacks: load the model that it was made for.`);
      }
    }
    return names.map((name) => this.#tensors.get(name)?.indices.slice() ?? new Uint32Array());
  }

  /** Everything but the neurons and the embeddings' values, as plain JSON. */
  info(): ConceptInfo {
    const { header, bytes } = runAtOnce(encodeConceptFile(this.#data()));
    const { fingerprint, method, steps, engineVersion, neuronCount, weightCount, density } = this;
    return {
      formatVersion: FORMAT_VERSION,
      hash: this.hash,
      fingerprint,
      subjects: header.subjects.map((subject) => ({ ...subject, embedding: subject.embedding ?? null })),
      method,
      steps,
      engineVersion,
      // The CPU in fp32 is not written down.
      device: this.device ?? (steps > 0 ? 'cpu' : null),
      precision: this.precision ?? (steps > 0 ? 'fp32' : null),
      neuronCount,
      weightCount,
      density,
      byteLength: bytes.length,
      tensors: header.tensors.map(({ name, shape, count, coding, byteLength }) => ({
        name,
        shape,
        neuronCount: count,
        density: count / weightsOf(shape),
        coding,
        byteLength,
      })),
      report: this.report ?? null,
    };
  }

  /**
   * Whether both shut the same neurons of the same base model for the same subjects (embeddings included), in
   * whatever order. How they were found does not count, nor do weights without neurons.
   */
  equals(other: Concept): boolean {
    if (!(other instanceof Concept) || this.fingerprint !== other.fingerprint || this.neuronCount !== other.neuronCount) return false;
    const byIdentifier = (concept: Concept) => new Map(concept.subjects.map(inNfc).map((subject) => [subject.identifier, subject]));
    if (!isDeepStrictEqual(byIdentifier(this), byIdentifier(other))) return false;
    return [...this.#tensors].every(([name, { indices }]) => equal(indices, other.#tensors.get(name)?.indices ?? new Uint32Array()));
  }

  /**
   * All neurons and all subjects of the given concepts: shutting them draws all subjects in one picture
   * (paper §3.2, "Additivity of Concept Neurons").
   *
   * @throws ConesError `CONES_CONCEPT_MISMATCH` when the base models differ, `CONES_OPTION_INVALID` when two
   *   concepts use one identifier for different subjects (rename one with {@link withIdentifier})
   */
  static union(first: Concept, ...others: Concept[]): Concept {
    return combine('union', union, [first, ...others], 'all');
  }

  /** Neurons that all given concepts share, with the subjects of all. Throws as {@link union}. */
  static intersection(first: Concept, ...others: Concept[]): Concept {
    return combine('intersection', intersection, [first, ...others], 'all');
  }

  /**
   * Neurons of `first` that none of the others has, with the subjects of `first`.
   *
   * @throws ConesError `CONES_CONCEPT_MISMATCH` when the base models differ
   */
  static difference(first: Concept, ...others: Concept[]): Concept {
    return combine('difference', difference, [first, ...others], 'first');
  }

  /**
   * How far the neurons of two concepts coincide: over all weights, and for each weight of either one.
   *
   * @throws ConesError `CONES_CONCEPT_MISMATCH` when the base models differ
   */
  static jaccard(a: Concept, b: Concept): Overlap & { readonly layers: readonly LayerOverlap[] } {
    assertConcepts('jaccard', [a, b]);
    const layers = [...shapes([a, b])].map(([name, shape]) => tensorOverlap(name, tensorOf(a, name, shape), tensorOf(b, name, shape)));
    return { ...totalOverlap(layers), layers };
  }
}

function assertPath(call: string, path: unknown): void {
  if (typeof path !== 'string') throw new ConesError('CONES_OPTION_INVALID', `${call} takes the path of a file; it got ${typeof path}.`);
}

/** Smaller files are read whatever they are: the decoder tells best what is wrong with them. */
const SMALL_FILE = 2 ** 24;

/**
 * Gigabytes are not read only to be refused: the first bytes of a concept file tell how long it is (docs/reference/concept-file.md).
 * @throws ConesError `CONES_IO`, `CONES_CONCEPT_CORRUPT`
 */
async function assertPlausibleSize(path: string): Promise<void> {
  const { bytes, size } = await readBeginning(path, PREFIX_BYTES);
  if (size <= SMALL_FILE || size === fileLength(bytes)) return;
  const message = `${brief(path)}: This is not a concept file, or not a whole one: its beginning does not tell its length, ${size} bytes. Give a file that cones has saved.`;
  throw new ConesError('CONES_CONCEPT_CORRUPT', message);
}

function assertConcepts(call: string, concepts: readonly unknown[]): void {
  if (concepts.every((concept) => concept instanceof Concept)) return;
  throw new ConesError('CONES_OPTION_INVALID', `Concept.${call} takes concepts, one argument each (Concept.load(file)).`);
}

/** Folds `operate` over the concepts, weight by weight. The report tells what was combined. */
function combine(
  method: string,
  operate: (a: Uint32Array, b: Uint32Array) => Uint32Array,
  concepts: readonly [Concept, ...Concept[]],
  subjectsOf: 'all' | 'first',
): Concept {
  assertConcepts(method, concepts);
  const [first] = concepts;
  const tensors = new Map<string, ConceptTensor>();
  for (const [name, shape] of shapes(concepts)) {
    const indices = concepts.map((concept) => tensorOf(concept, name, shape).indices).reduce(operate);
    tensors.set(name, { shape, indices });
  }
  const operands = concepts.map(({ subjects, method, steps, neuronCount }) => ({
    identifiers: subjects.map(({ identifier }) => identifier),
    method,
    steps,
    neuronCount,
  }));
  return Concept.create({
    fingerprint: first.fingerprint,
    subjects: subjectsOf === 'all' ? joinSubjects(concepts) : first.subjects,
    method,
    steps: 0,
    engineVersion: first.engineVersion,
    report: { operands },
    tensors,
  });
}

/** The weights that any of the concepts lists, with their shapes. */
function shapes(concepts: readonly [Concept, ...Concept[]]): Map<string, readonly number[]> {
  const [first] = concepts;
  const all = new Map<string, readonly number[]>();
  for (const concept of concepts) {
    concept.assertBaseModel(first.fingerprint);
    for (const [name, { shape }] of concept.tensors) {
      const known = all.get(name);
      if (known && !isDeepStrictEqual(known, shape)) {
        const message = `${name} is [${known.join(', ')}] in one concept and [${shape.join(', ')}] in another: one of them was made for another model.`;
        throw new ConesError('CONES_CONCEPT_MISMATCH', message);
      }
      all.set(name, shape);
    }
  }
  return all;
}

function tensorOf(concept: Concept, name: string, shape: readonly number[]): ConceptTensor {
  return concept.tensors.get(name) ?? { shape, indices: new Uint32Array() };
}

/** Typed arrays cannot be frozen: who asks gets a copy. */
function guardIndices({ shape, indices }: ConceptTensor): ConceptTensor {
  return Object.freeze({ shape: Object.freeze(shape), get indices() { return indices.slice(); } });
}

function guardEmbedding({ embedding, ...subject }: Subject): Subject {
  if (!embedding) return Object.freeze(subject);
  const { dtype, values } = embedding;
  return Object.freeze({ ...subject, embedding: Object.freeze({ dtype, get values() { return values.slice(); } }) });
}
