/** Whether the engine can load a model, by its configs alone: before gigabytes of weights are downloaded. */
import path from 'node:path';
import type { ConesError } from '../../errors';
import { checkIndex, readSchedulerConfig, readTextConfig, readUNetConfig, readVaeConfig } from '..';
import { readClipConfig } from '../clip';
import { INDEX } from './choose-files';

/** @throws ConesError CONES_CONFIG_INVALID, CONES_CONFIG_UNSUPPORTED */
export async function checkLoads(folder: string, isPair: boolean): Promise<void> {
  if (!isPair) await checkIndex(path.join(folder, INDEX));
  const reading = isPair
    ? [readClipConfig(folder)]
    : [
        readUNetConfig(path.join(folder, 'unet')),
        readTextConfig(path.join(folder, 'text_encoder')),
        readVaeConfig(path.join(folder, 'vae')),
        readSchedulerConfig(path.join(folder, 'scheduler')),
      ];
  for (const result of await Promise.allSettled<unknown>(reading)) {
    // The weights are missing still.
    if (result.status === 'rejected' && (result.reason as ConesError).code !== 'CONES_MODEL_NOT_FOUND') throw result.reason as Error;
  }
}
