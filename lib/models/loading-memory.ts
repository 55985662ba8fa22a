/** Whether a model fits into memory, and what to say when it does not. */
import type { NativePlace } from '../../typings/native';
import { AbortError, ConesError } from '../errors';
import { tensorBytes, weightFileSize } from './weight-file';
import type { WeightFiles } from './weights';
import { fromNative } from '../native';

/**
 * Bytes of memory that a byte of a safetensors header takes: its text, then names, types and shapes in the nodes of two maps.
 * The shortest entry, `"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},`, takes most.
 */
const HEADER_COST = 12;
/** All headers of a model of this kind take less, so that only strange files make a difference. */
const USUAL_HEADERS = 2 ** 20;

/**
 * Loads a model whose weights are in `parts`. The native core does not count headers: what they take beyond the usual goes off its limit.
 * @throws ConesError CONES_OUT_OF_MEMORY, with advice for a model that does not even load; what `load` throws
 */
export async function loadWithin<T, Place extends NativePlace>(place: Place, parts: readonly WeightFiles[], load: (place: Place) => Promise<T>): Promise<T> {
  const memoryLimit = place.memoryLimit ?? place.hostMemory ?? Number.MAX_SAFE_INTEGER;
  let bytes = 0;
  let headers = 0;
  for (const { files, tensors } of parts) {
    for (const tensor of tensors ?? []) bytes += tensorBytes(tensor);
    // A list of tensors stands for headers that are read already.
    for (const file of tensors === undefined ? files : []) {
      const { size, header } = await weightFileSize(file);
      bytes += size;
      headers += header;
    }
  }
  const mib = (value: number) => `${Math.ceil(value / 2 ** 20)} MiB`;
  const strange = Math.max(0, headers - USUAL_HEADERS) * HEADER_COST;
  if (strange >= memoryLimit) {
    const message = `The weights files have headers of ${mib(headers)}, which take more memory than the limit of ${mib(memoryLimit)} allows. Raise memoryLimit, or save the model again: headers take a few hundred KiB.`;
    throw new ConesError('CONES_OUT_OF_MEMORY', message);
  }
  try {
    return await fromNative(() => load({ ...place, ...(place.memoryLimit === undefined ? { hostMemory: memoryLimit - strange } : { memoryLimit: memoryLimit - strange }) }));
  } catch (error) {
    if (!(error instanceof ConesError) || error instanceof AbortError || error.code !== 'CONES_OUT_OF_MEMORY') throw error;
    const message = `The model does not fit into the memory limit of ${mib(memoryLimit)}: its weights have ${mib(bytes)} in their files. Raise memoryLimit, end what else uses memory, or load a smaller model.`;
    throw new ConesError('CONES_OUT_OF_MEMORY', message, { cause: error });
  }
}
