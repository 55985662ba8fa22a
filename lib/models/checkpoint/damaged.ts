import { ConesError } from '../../errors';
import { brief } from '../../util/show';

/** What a checkpoint of PyTorch is refused for. `problem` is said of the file: "it …". */
export function damaged(file: string, problem: string, options?: { cause?: unknown }): ConesError {
  return new ConesError('CONES_CHECKPOINT_INVALID', `${brief(file)} is no checkpoint of PyTorch that can be read: ${problem}. Nothing of it was executed. Take the model as safetensors, or download it again.`, options);
}

/** A problem whose file is known further out. */
export class Problem extends Error {}
