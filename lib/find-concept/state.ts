/**
 * A search that can be continued: the native state (ξ, moments, S, steps) with a digest of what it belongs to.
 *
 * Bytes: "CONESXI1", SHA-256 of the search's inputs, native state, SHA-256 of all before.
 */
import { createHash } from 'node:crypto';
import { ConesError } from '../errors';

const MAGIC = Buffer.from('CONESXI1', 'latin1');
const DIGEST = 32;

export function packState(inputs: Buffer, native: Uint8Array): Buffer {
  const body = Buffer.concat([MAGIC, inputs, native]);
  return Buffer.concat([body, sha256(body)]);
}

/**
 * The native state in `bytes`.
 * @throws ConesError CONES_STATE_INVALID when it is damaged or belongs to other pictures, options or another model
 */
export function unpackState(inputs: Buffer, bytes: Uint8Array): Buffer {
  const state = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = state.length - DIGEST;
  const header = MAGIC.length + DIGEST;
  const whole = end > header && state.subarray(0, MAGIC.length).equals(MAGIC) && sha256(state.subarray(0, end)).equals(state.subarray(end));
  if (!whole) throw new ConesError('CONES_STATE_INVALID', 'The saved search is damaged or is no saved search; start the search anew.');
  if (!state.subarray(MAGIC.length, header).equals(inputs)) {
    throw new ConesError(
      'CONES_STATE_INVALID',
      'The saved search belongs to other pictures, options or another model; resume with those that it was started with.',
    );
  }
  return state.subarray(header, end);
}

function sha256(data: Uint8Array): Buffer {
  return createHash('sha256').update(data).digest();
}
