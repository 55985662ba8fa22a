/**
 * A search that can be continued: the native state (ξ, moments, S, steps) with a digest of what it belongs to.
 *
 * Bytes: "CONESXI1", SHA-256 of the search's inputs, native state, SHA-256 of all before. Of a search on a GPU, which would round
 * differently elsewhere, "CONESXI2" and then device and precision, 8 bytes of ASCII each, before the rest.
 */
import { createHash } from 'node:crypto';
import { kindOf } from '../../device';
import type { Session } from '../../engine/session';
import { ConesError } from '../../errors';
import type { Pieces } from '../../util/pieces';
import { show } from '../../util/show';

const MAGIC = Buffer.from('CONESXI1', 'latin1');
const MAGIC_WITH_PLACE = Buffer.from('CONESXI2', 'latin1');
const NAME = 8;
const DIGEST = 32;

type Place = Pick<Session, 'device' | 'precision'>;

/** What a state begins with. */
function beginning({ device, precision }: Place): Buffer {
  if (device === 'cpu') return MAGIC;
  return Buffer.concat([MAGIC_WITH_PLACE, ...[kindOf(device), precision].map((name) => Buffer.from(name.padEnd(NAME, '\0'), 'latin1'))]);
}

export function* packState(inputs: Buffer, place: Place, native: Uint8Array): Pieces<Buffer> {
  const begins = beginning(place);
  const header = begins.length + DIGEST;
  const end = header + native.length;
  const state = Buffer.allocUnsafe(end + DIGEST);
  state.set(begins);
  state.set(inputs, begins.length);
  yield* copy(native, state.subarray(header, end));
  state.set(yield* sha256(state.subarray(0, end)), end);
  return state;
}

/**
 * The native state in `bytes`, copied.
 * @throws ConesError CONES_STATE_INVALID when it is damaged or belongs to other pictures, options, another model or device
 */
export function* unpackState(inputs: Buffer, place: Place, bytes: Uint8Array): Pieces<Buffer> {
  const state = Buffer.allocUnsafe(bytes.length);
  yield* copy(bytes, state);
  const end = state.length - DIGEST;
  const begun = placeIn(state);
  if (!begun || end <= begun.begins.length + DIGEST || !(yield* sha256(state.subarray(0, end))).equals(state.subarray(end))) {
    throw new ConesError('CONES_STATE_INVALID', 'The saved search is damaged or is no saved search; start the search anew.');
  }
  const { begins } = begun;
  if (!begins.equals(beginning(place))) {
    const message =
      `The saved search began on ${show(begun.device)} in ${show(begun.precision)}, but this engine is on ${kindOf(place.device)} in ${place.precision}: ` +
      `load the model with device ${show(begun.device)} and precision ${show(begun.precision)} to resume it.`;
    throw new ConesError('CONES_STATE_INVALID', message);
  }
  const header = begins.length + DIGEST;
  if (!state.subarray(begins.length, header).equals(inputs)) {
    throw new ConesError(
      'CONES_STATE_INVALID',
      'The saved search belongs to other pictures, options or another model; resume with those that it was started with.',
    );
  }
  return state.subarray(header, end);
}

/** Where a state was begun, and the bytes that say so; undefined of what is no state. */
function placeIn(state: Buffer): { begins: Buffer; device: string; precision: string } | undefined {
  if (state.subarray(0, MAGIC.length).equals(MAGIC)) return { begins: state.subarray(0, MAGIC.length), device: 'cpu', precision: 'fp32' };
  if (!state.subarray(0, MAGIC.length).equals(MAGIC_WITH_PLACE)) return undefined;
  const name = (from: number) => state.subarray(from, from + NAME).toString('latin1').replace(/\0.*/s, '');
  return { begins: state.subarray(0, MAGIC.length + 2 * NAME), device: name(MAGIC.length), precision: name(MAGIC.length + NAME) };
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
