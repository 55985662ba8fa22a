/**
 * A search or training that can be continued: the native state (ξ or weights, moments, steps) with a digest of what it belongs to, and its losses so far.
 *
 * Bytes: "CONESXI3" or, of a training, "CONESTR1"; device and precision, which round differently, 8 bytes of ASCII each; SHA-256 of its inputs; its losses
 * (loss-history.ts); native state; SHA-256 of all before.
 */
import { createHash } from 'node:crypto';
import { kindOf } from '../../device';
import type { Session } from '../../engine/session';
import { ConesError } from '../../errors';
import type { Pieces } from '../../util/pieces';
import { show } from '../../util/show';
import { LossHistory } from './loss-history';

const MAGIC = { search: Buffer.from('CONESXI3', 'latin1'), training: Buffer.from('CONESTR1', 'latin1') } as const;
export type Kind = keyof typeof MAGIC;
const NAME = 8;
const DIGEST = 32;
/** Where its parts begin. */
const INPUTS = MAGIC.search.length + 2 * NAME;
const LOSSES = INPUTS + DIGEST;
const NATIVE = LOSSES + LossHistory.BYTES;

type Place = Pick<Session, 'device' | 'precision'>;

export interface SavedSearch {
  readonly native: Buffer;
  readonly losses: LossHistory;
}

/** What a state begins with. */
function beginning(kind: Kind, { device, precision }: Place): Buffer {
  return Buffer.concat([MAGIC[kind], ...[kindOf(device), precision].map((name) => Buffer.from(name.padEnd(NAME, '\0'), 'latin1'))]);
}

export function* packState(inputs: Buffer, place: Place, losses: LossHistory, native: Uint8Array, kind: Kind): Pieces<Buffer> {
  const end = NATIVE + native.length;
  const state = Buffer.allocUnsafe(end + DIGEST);
  state.set(Buffer.concat([beginning(kind, place), inputs, losses.toBytes()]));
  yield* copy(native, state.subarray(NATIVE, end));
  state.set(yield* sha256(state.subarray(0, end)), end);
  return state;
}

/**
 * What is in `bytes`, copied.
 * @throws ConesError CONES_STATE_INVALID when it is damaged or belongs to other pictures, options, another model or device
 */
export function* unpackState(inputs: Buffer, place: Place, bytes: Uint8Array, kind: Kind): Pieces<SavedSearch> {
  const state = Buffer.allocUnsafe(bytes.length);
  yield* copy(bytes, state);
  const end = state.length - DIGEST;
  const whole = state.subarray(0, MAGIC[kind].length).equals(MAGIC[kind]) && end > NATIVE && (yield* sha256(state.subarray(0, end))).equals(state.subarray(end));
  const losses = whole ? LossHistory.fromBytes(state.subarray(LOSSES, NATIVE)) : undefined;
  if (losses === undefined) throw new ConesError('CONES_STATE_INVALID', `The saved ${kind} is damaged, or no ${kind} of this version of cones; start the ${kind} anew.`);
  if (!state.subarray(0, INPUTS).equals(beginning(kind, place))) {
    const [device, precision] = [nameAt(state, MAGIC[kind].length), nameAt(state, MAGIC[kind].length + NAME)];
    const message =
      `The saved ${kind} began on ${show(device)} in ${show(precision)}, but this engine is on ${kindOf(place.device)} in ${place.precision}: ` +
      `load the model with device ${show(device)} and precision ${show(precision)} to resume it.`;
    throw new ConesError('CONES_STATE_INVALID', message);
  }
  if (!state.subarray(INPUTS, LOSSES).equals(inputs)) {
    throw new ConesError(
      'CONES_STATE_INVALID',
      `The saved ${kind} belongs to other pictures, options or another model; resume with those that it was started with.`,
    );
  }
  return { native: state.subarray(NATIVE, end), losses };
}

function nameAt(state: Buffer, at: number): string {
  return state.toString('latin1', at, at + NAME).replace(/\0.*/s, '');
}

/** Bytes per turn of the event loop: a large model's state is hundreds of megabytes. */
const PIECE = 2 << 20;

function* copy(from: Uint8Array, to: Uint8Array): Pieces<void> {
  for (let begin = 0; begin < to.length; begin += PIECE) {
    if (from.length !== to.length) throw new ConesError('CONES_STATE_INVALID', 'The saved search was given away or cut off while it was read.');
    to.set(from.subarray(begin, Math.min(begin + PIECE, to.length)), begin);
    yield;
  }
}

function* sha256(data: Uint8Array): Pieces<Buffer> {
  const hash = createHash('sha256');
  for (let begin = 0; begin < data.length; begin += PIECE) {
    hash.update(data.subarray(begin, begin + PIECE));
    yield;
  }
  return hash.digest();
}
