import { ConesError } from '../errors';
import { brief, reason } from './show';

/**
 * Reads objects that a caller made: getters and proxies run the caller's code, and what that throws is a fault of the options.
 * @throws ConesError CONES_OPTION_INVALID
 */
export function reading<T>(call: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new ConesError('CONES_OPTION_INVALID', `${call}: the options cannot be read: ${brief(reason(cause))}. Give plain values.`, { cause });
  }
}

/** A call's options, each read once, with its other arguments beside them. */
export function ownOptions<T extends object, More extends object = object>(call: string, options: T, more?: More): T & More {
  return reading(call, () => ({ ...options, ...more }) as T & More);
}
