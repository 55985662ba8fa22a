import { ConesError } from '../errors';

/**
 * Multiplies each token's text state by its weight, then all of them so that their mean is what it was: the "Original" emphasis of
 * stable-diffusion-webui (AUTOMATIC1111), which takes each chunk's mean over tokens and channels.
 * @param states [T, D]
 * @param weights [T]
 * @throws ConesError CONES_OPTION_INVALID where no factor restores the mean
 */
export function weighStates(states: Float32Array, weights: readonly number[]): Float32Array {
  const width = states.length / weights.length;
  let [before, after] = [0, 0];
  states.forEach((value, i) => {
    before += value;
    after += value * weights[Math.floor(i / width)]!;
  });
  const restore = before === after ? 1 : before / after;
  const weighed = states.map((value, i) => value * weights[Math.floor(i / width)]! * restore);
  if (!weighed.every(Number.isFinite)) {
    throw new ConesError('CONES_OPTION_INVALID', 'prompt: its weights leave nothing of the text states: give weights nearer to 1.');
  }
  return weighed;
}
