/**
 * A search that can be continued: the native state (ξ, moments, S, steps) with a digest of what it belongs to.
 *
 * Bytes: "CONESXI1", SHA-256 of the search's inputs, native state, SHA-256 of all before.
 */
import { createHash } from 'node:crypto';
import { ConesError } from '../errors';
import type { Pieces } from '../pieces';

const MAGIC = Buffer.from('CONESXI1', 'latin1');
const DIGEST = 32;

export function* packState(inputs: Buffer, native: Uint8Array): Pieces<Buffer> {
  const header = MAGIC.length + DIGEST;
  const end = header + native.length;
  const state = Buffer.allocUnsafe(end + DIGEST);
  state.set(MAGIC);
  state.set(inputs, MAGIC.length);
  yield* copy(native, state.subarray(header, end));
  state.set(yield* sha256(state.subarray(0, end)), end);
  return state;
}

/**
 * The native state in `bytes`, copied.
 * @throws ConesError CONES_STATE_INVALID when it is damaged or belongs to other pictures, options or another model
 */
export function* unpackState(inputs: Buffer, bytes: Uint8Array): Pieces<Buffer> {
  const state = Buffer.allocUnsafe(bytes.length);
  yield* copy(bytes, state);
  const end = state.length - DIGEST;
  const header = MAGIC.length + DIGEST;
  const known = end > header && state.subarray(0, MAGIC.length).equals(MAGIC);
  if (!known || !(yield* sha256(state.subarray(0, end))).equals(state.subarray(end))) {
    throw new ConesError('CONES_STATE_INVALID', 'The saved search is damaged or is no saved search; start the search anew.');
  }
  if (!state.subarray(MAGIC.length, header).equals(inputs)) {
    throw new ConesError(
      'CONES_STATE_INVALID',
      'The saved search belongs to other pictures, options or another model; resume with those that it was started with.',
    );
  }
  return state.subarray(header, end);
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
