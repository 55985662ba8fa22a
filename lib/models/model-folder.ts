/** What is given as a model's folder and is none. */
import { stat } from 'node:fs/promises';
import { ConesError } from '../errors';
import { brief } from '../util/show';
import { fileError, LAYOUT } from './read-json';

/** As names on the Hugging Face hub: `organisation/model`. */
const HUB_NAME = /^[A-Za-z0-9][\w.-]{0,95}\/[A-Za-z0-9][\w.-]{0,95}$/;
/**
 * @param root the folder's absolute path
 * @param given the path that was given
 * @throws ConesError CONES_MODEL_NOT_FOUND with the next step, CONES_IO
 */
export async function assertFolder(root: string, given: string): Promise<void> {
  const found = await stat(root).catch((cause: unknown) => {
    const error = fileError(root, cause);
    if (error.code !== 'CONES_MODEL_NOT_FOUND' || !HUB_NAME.test(given)) throw error;
    const message =
      `There is no folder ${brief(root)}. ${brief(given)} looks like a name on the Hugging Face hub: write hf:${given}, ` +
      'which downloads the model where the cache does not have it.';
    throw new ConesError('CONES_MODEL_NOT_FOUND', message, { cause });
  });
  if (found.isDirectory()) return;
  throw new ConesError('CONES_MODEL_NOT_FOUND', `${brief(root)} is no folder. ${LAYOUT} Give the folder.`);
}
