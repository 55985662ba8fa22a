/** A search or a training step by step: how both are begun, run, kept and gone on with. */
import type { NativeLearning } from '../../../typings/native';
import type { Session } from '../../engine/session';
import { ConesError } from '../../errors';
import { toConesError } from '../../native';
import { runInPieces } from '../../util/pieces';
import { show } from '../../util/show';
import { type Checkpoint, type Priority, SHARES } from '../cones/options';
import { type LossCurve, LossHistory } from './loss-history';
import { type Kind, packState, unpackState } from './state';

/** As a progress names them. */
type Phase = 'search' | 'train';

interface Progress<P extends Phase> {
  readonly phase: P;
  readonly step: number;
  readonly steps: number;
  readonly loss: number;
  readonly subjectLoss: number;
  readonly priorLoss: number;
  readonly msPerStep: number;
  readonly remainingMs: number;
}

interface Settings<P extends Phase> {
  readonly steps: number;
  readonly priority: Priority;
  readonly resume?: Uint8Array | undefined;
  readonly checkpoint?: Checkpoint | undefined;
  readonly onProgress?: ((progress: Progress<P>) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What it is, as its state and its progress name it, and the digest of what it is made from. */
interface Of<P extends Phase> {
  readonly kind: Kind;
  readonly phase: P;
  readonly digest: Buffer;
}

export class Stepwise<Native extends NativeLearning, P extends Phase> {
  readonly native: Native;
  readonly #session: Session;
  readonly #settings: Settings<P>;
  readonly #of: Of<P>;
  readonly #losses: LossHistory;

  private constructor(session: Session, settings: Settings<P>, of: Of<P>, native: Native, losses: LossHistory) {
    this.#session = session;
    this.#settings = settings;
    this.#of = of;
    this.native = native;
    this.#losses = losses;
  }

  /** Begins, or goes on from `resume`, which is looked at before anything is made. */
  static async open<Native extends NativeLearning, P extends Phase>(session: Session, settings: Settings<P>, of: Of<P>, create: () => Promise<Native>): Promise<Stepwise<Native, P>> {
    const state = settings.resume && (await runInPieces(unpackState(of.digest, session, settings.resume, of.kind)));
    const native = await create();
    session.addPart(native);
    if (state) {
      try {
        await session.job(settings.signal, () => native.loadState(state.native));
      } catch (error) {
        session.removePart(native);
        throw error;
      }
    }
    return new Stepwise(session, settings, of, native, state?.losses ?? new LossHistory());
  }

  /** Steps done so far. */
  get step(): number {
    this.#session.assertUsable();
    try {
      return this.native.step;
    } catch (error) {
      throw toConesError(error);
    }
  }

  get losses(): LossCurve {
    return this.#losses.curve();
  }

  /** Takes steps until `until` are done, saving as `checkpoint` asks; no step is taken while the state is being saved. */
  async run(until: number = this.#settings.steps): Promise<void> {
    if (!Number.isSafeInteger(until) || until < 0) {
      throw new ConesError('CONES_OPTION_INVALID', `run: ${show(until)} is not a number of steps; give a whole number.`);
    }
    const { checkpoint, signal, priority } = this.#settings;
    const stepped = this.#reporter(until);
    for (let step = this.step, next = step; step < until; step = next) {
      next = checkpoint ? Math.min(until, step + checkpoint.every - (step % checkpoint.every)) : until;
      await this.#session.job(signal, (abort, guard) => this.native.run({ steps: next - step, share: SHARES[priority], abort, onStep: guard(stepped) }));
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
      this.#settings.onProgress?.({ phase: this.#of.phase, step, steps: until, loss, subjectLoss, priorLoss, msPerStep, remainingMs: perStep * (until - step) });
    };
  }

  /** The whole state, from which `resume` goes on bit by bit as if it had not been interrupted. */
  async save(): Promise<Buffer> {
    const state = await this.#session.job(undefined, () => this.native.saveState());
    return runInPieces(packState(this.#of.digest, this.#session, this.#losses, state, this.#of.kind));
  }

  dispose(): void {
    this.#session.removePart(this.native);
  }
}
