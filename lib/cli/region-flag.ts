/** --region of cones generate: where subjects are. */
import { ConesError } from '../errors';
import { brief } from '../util/show';
import { numbers } from './arguments';

/** "V1*=0,0,0.5,1": whether the numbers make a box is for the engine to say. */
export function regionsOf(flags: readonly string[]): unknown {
  if (flags.length === 1 && flags[0] === 'auto') return 'auto';
  const regions = new Map<string, number[][]>();
  for (const flag of flags) {
    const at = flag.lastIndexOf('=');
    const identifier = flag.slice(0, Math.max(at, 0));
    if (identifier === '') throw new ConesError('CONES_OPTION_INVALID', `--region "${brief(flag)}" names no subject: write it as V1*=0,0,0.5,1, or "auto" alone.`);
    regions.set(identifier, [...(regions.get(identifier) ?? []), numbers(flag.slice(at + 1))]);
  }
  return Object.fromEntries(regions);
}
