import type { NativeAdapter } from '../typings/native';
import type { AdapterKind } from './adapters/read';
import type { Word } from './adapters/textual-inversion';
import type { Session } from './engine/session';
import { ConesError } from './errors';
import { brief } from './util/show';

export type { AdapterKind } from './adapters/read';

/** What {@link Adapter} is made of: of a session, and of nobody else. */
export interface AdapterParts {
  readonly session: Session;
  readonly name: string;
  readonly kind: AdapterKind;
  readonly hash: string;
  readonly rank: number;
  readonly layers: number;
  readonly words: readonly Word[];
  /** Undefined where no layers are changed. */
  readonly native: NativeAdapter | undefined;
}

/** For engine.loadAdapter alone. */
export let makeAdapter: (parts: AdapterParts) => Adapter;

/**
 * What an adapter holds, for the engine that loaded it.
 * @throws ConesError CONES_DISPOSED, CONES_ADAPTER_MISMATCH when it was loaded by another engine
 */
export let adapterParts: (adapter: Adapter, session: Session) => AdapterParts;

/**
 * A LoRA, a word of textual inversion or the weights of Custom Diffusion, loaded for one engine (`engine.loadAdapter`): pictures that
 * are drawn with it (`generate`'s `adapters`) differ, the model does not. Immutable until it is disposed.
 */
export class Adapter implements Disposable {
  /** The file's, or the one that it was loaded with. */
  readonly name: string;
  readonly kind: AdapterKind;
  /** SHA-256 of the file, `sha256:…`. */
  readonly hash: string;
  /** The largest rank of a LoRA's layers; 0 for other kinds. */
  readonly rank: number;
  /** How many layers of the UNet and the text encoder it changes. */
  readonly layers: number;
  /** Words that prompts may have with it (textual inversion, and LoRAs that bring some along), such as `<my-cat>`. */
  readonly words: readonly string[];
  readonly #parts: AdapterParts;
  #isDisposed = false;

  private constructor(parts: AdapterParts) {
    this.name = parts.name;
    this.kind = parts.kind;
    this.hash = parts.hash;
    this.rank = parts.rank;
    this.layers = parts.layers;
    this.words = Object.freeze(parts.words.map(({ text }) => text));
    this.#parts = parts;
    Object.freeze(this);
  }

  /** Bytes that it has of the engine's memory; 0 once it is disposed. */
  get size(): number {
    return this.#parts.native?.bytes ?? 0;
  }

  /** Gives its memory back, as soon as the drawings under way that have it are done. May be called more than once. */
  dispose(): void {
    this.#isDisposed = true;
    const { native, session } = this.#parts;
    if (native) session.removePart(native);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  static {
    makeAdapter = (parts) => new Adapter(parts);
    adapterParts = (adapter, session) => {
      const parts = adapter.#parts;
      if (adapter.#isDisposed) throw new ConesError('CONES_DISPOSED', `The adapter ${brief(adapter.name)} was disposed; load it again.`);
      if (parts.session !== session) throw new ConesError('CONES_ADAPTER_MISMATCH', `The adapter ${brief(adapter.name)} was loaded by another engine: load it with this one.`);
      return parts;
    };
  }
}
