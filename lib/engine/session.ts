import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import type { NativeAbort, NativeMask, NativeModel } from '../../typings/native';
import { Concept } from '../concept';
import type { Precision } from '../device';
import { AbortError, ConesError } from '../errors';
import type { ModelConfig } from '../models';
import { conditionsOf } from '../models/conditions';
import { native, toConesError } from '../native';
import { refusePaths } from '../util/options';
import type { Tokenizer } from '../text/tokenizer';
import type { Admission } from './admission';
import { followSignal } from './follow-signal';
import type { Warning } from '../warning';

/** Wraps a callback of a job, so that what it throws is told from the job's own errors. */
export type Guard = <Arguments extends unknown[]>(callback: (...values: Arguments) => void) => (...values: Arguments) => void;

/** Unions whose neurons and masks are kept for the next picture: about 15 MB each at Stable Diffusion's size. */
const MOST_UNIONS = 8;

type SessionParts = Pick<Session, 'model' | 'config' | 'tokenizer' | 'rareTokens' | 'threads' | 'allowPaths' | 'admission'>;

/** What holds memory of a model. */
interface Part {
  dispose(): void;
}

/** A loaded model with what its jobs share. The functions beside this file are the engine's methods on it. */
export class Session {
  readonly model: NativeModel;
  readonly config: ModelConfig;
  readonly tokenizer: Tokenizer;
  /** Where it is: 'cpu', 'cuda:0'. */
  readonly device: string;
  readonly precision: Precision;
  /** Of loading it. */
  readonly warnings: readonly Warning[];
  /** Of the engine's pool. */
  readonly threads: number;
  /** Whether options may name files (Engine.load). */
  readonly allowPaths: boolean;
  /** Of calls of generate. */
  readonly admission: Admission;
  /** Rare tokens for new identifiers. */
  readonly rareTokens: readonly string[];
  /** All K-V weights, in the network's order. */
  readonly kvTensors: readonly { readonly name: string; readonly shape: readonly [number, number] }[];
  /** Searches and adapters, which hold memory of the model. */
  readonly #parts = new Set<WeakRef<Part>>();
  readonly #masks = new WeakMap<Concept, Promise<NativeMask>>();
  /** The last ones that were drawn, the latest at the end. */
  readonly #unions: { readonly of: readonly Concept[]; readonly union: Concept }[] = [];
  /** Identifies the base model in concept files. */
  readonly fingerprint: string;
  #wordNorm: number | undefined;
  #disposed: Promise<void> | undefined;

  private constructor(parts: SessionParts, fingerprint: string) {
    this.model = parts.model;
    this.config = parts.config;
    this.tokenizer = parts.tokenizer;
    this.rareTokens = parts.rareTokens;
    this.threads = parts.threads;
    this.allowPaths = parts.allowPaths;
    this.admission = parts.admission;
    this.device = parts.model.device;
    this.precision = parts.model.precision as Precision;
    const { note } = parts.model;
    this.warnings = note === '' ? [] : [{ code: 'cpu-fallback', message: `Computing on ${this.device}. ${note}` }];
    this.kvTensors = Object.freeze(parts.model.kvTensors.map((tensor) => Object.freeze({ ...tensor, shape: Object.freeze([...tensor.shape] as const) })));
    this.fingerprint = fingerprint;
  }

  static async open(parts: SessionParts): Promise<Session> {
    return new Session(parts, await fingerprintOf(parts.model));
  }

  /** @throws ConesError CONES_DISPOSED */
  assertUsable(): void {
    if (this.#disposed) throw new ConesError('CONES_DISPOSED', 'The engine was disposed; load the model again.');
  }

  /**
   * Whoever trains, or asks for gradients, needs a UNet that sees latents alone.
   * @throws ConesError CONES_CONFIG_UNSUPPORTED
   */
  assertTextToImage(call: string): void {
    if (conditionsOf(this.config) === 'none') return;
    const { inChannels } = this.config.unet;
    throw new ConesError('CONES_CONFIG_UNSUPPORTED', `${call}: the model's UNet has ${inChannels} channels, for a picture to start from: load a text-to-image model, such as the one that it was trained from.`);
  }

  /**
   * What the options of `call` name must be no files where the engine was loaded with `allowPaths: false`.
   * @throws ConesError CONES_OPTION_INVALID
   */
  assertPathsAllowed(call: string, options: Readonly<Record<string, unknown>>): void {
    if (!this.allowPaths) refusePaths(call, options);
  }

  /**
   * Runs one native job so that `signal` aborts it. It rejects with a ConesError, or with what a callback made by `guard`
   * threw; that ends the job, too.
   */
  async job<T>(signal: AbortSignal | undefined, start: (abort: NativeAbort, guard: Guard) => Promise<T>): Promise<T> {
    this.assertUsable();
    assertNotAborted(signal);
    const abort = new (native().NativeAbort)();
    const unfollow = signal && followSignal(signal, () => abort.abort());
    let thrown: { readonly error: unknown } | undefined;
    const guard: Guard = (callback) => (...values) => {
      try {
        callback(...values);
      } catch (error) {
        thrown ??= { error };
        throw error;
      }
    };
    try {
      return await start(abort, guard);
    } catch (cause) {
      if (thrown) throw thrown.error;
      const error = toConesError(cause);
      if (error instanceof AbortError && signal?.aborted) throw abortError(signal);
      // dispose() aborts what is running.
      if (error instanceof AbortError) this.assertUsable();
      throw error;
    } finally {
      unfollow?.();
    }
  }

  /**
   * The mask that shuts a concept's neurons; made once per concept.
   * @throws ConesError CONES_CONCEPT_MISMATCH
   */
  mask(concept: Concept): Promise<NativeMask> {
    let mask = this.#masks.get(concept);
    if (!mask) {
      concept.assertBaseModel(this.fingerprint);
      const { tensors } = concept;
      for (const { name, shape } of this.kvTensors) {
        const own = tensors.get(name)?.shape;
        if (own && own.join() !== shape.join()) {
          throw new ConesError('CONES_CONCEPT_MISMATCH', `${name} is [${own.join(', ')}] in the concept, but [${shape.join(', ')}] in this model: load the model that it was made for.`);
        }
      }
      const indices = concept.indicesFor(this.kvTensors.map(({ name }) => name));
      mask = this.job(undefined, () => this.model.createMask(indices));
      this.#masks.set(concept, mask);
      mask.catch(() => this.#masks.delete(concept));
    }
    return mask;
  }

  /** The mean length of the vocabulary's token embeddings; computed once. */
  async wordNorm(signal?: AbortSignal): Promise<number> {
    return (this.#wordNorm ??= await this.job(signal, (abort) => this.model.wordNorm({ abort })));
  }

  /** Concept.union, made once for the same list of concepts while it is drawn again and again, so that its mask is, too. */
  union(first: Concept, others: readonly Concept[]): Concept {
    if (others.length === 0) return first;
    const of = [first, ...others];
    const at = this.#unions.findIndex((known) => known.of.length === of.length && known.of.every((concept, i) => concept === of[i]));
    const [entry = { of, union: Concept.union(first, ...others) }] = at < 0 ? [] : this.#unions.splice(at, 1);
    this.#unions.push(entry);
    if (this.#unions.length > MOST_UNIONS) this.#unions.shift();
    return entry.union;
  }

  /** A search or an adapter goes with its model, at the latest; one that nobody has any more, whenever garbage is collected. */
  addPart(part: Part): void {
    if (this.#disposed) part.dispose();
    else this.#parts.add(new WeakRef(part));
  }

  removePart(part: Part): void {
    part.dispose();
    this.#parts.forEach((reference) => {
      const other = reference.deref();
      if (other === undefined || other === part) this.#parts.delete(reference);
    });
  }

  /** Aborts what is running and frees the weights. */
  dispose(): Promise<void> {
    this.#parts.forEach((reference) => reference.deref()?.dispose());
    this.#parts.clear();
    this.#disposed ??= this.model.dispose();
    return this.#disposed;
  }
}

/** @throws AbortError once the signal has fired: between the steps of work that is no native job */
export function assertNotAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortError(signal);
}

function abortError(signal: AbortSignal): AbortError {
  const reason: unknown = signal.reason;
  // Not `instanceof Error`: a signal may come from another realm.
  const { name } = Object(reason) as { name?: unknown };
  const message = name === 'TimeoutError' ? 'The job timed out.' : 'The job was aborted.';
  return new AbortError(message, { cause: reason });
}

/** SHA-256 over the names, shapes and stored bytes of the K-V weights, in the order of their names. */
async function fingerprintOf(model: NativeModel): Promise<string> {
  const hash = createHash('sha256');
  const byName = model.kvTensors.map((tensor, index) => ({ ...tensor, index })).sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const { name, shape, index } of byName) {
    hash.update(`${name} ${shape.join('x')}\n`);
    hash.update(model.kvBytes(index));
    // A full-size model has 88 MB of them: the event loop gets its turn in between.
    await setImmediate();
  }
  return `sha256:${hash.digest('hex')}`;
}
