/**
 * Prompts longer than the text encoder reads, in chunks that it reads one by one; the UNet sees the states of all of them in a row.
 * Where a chunk is full, what follows its last comma moves into the next one, unless that is further back than 20 tokens: as
 * stable-diffusion-webui (AUTOMATIC1111) does it by default.
 */
import { BREAK } from './emphasis';

/** A token of a chunk. */
export interface ChunkToken {
  readonly id: number;
  readonly weight: number;
  /** As the vocabulary writes it. */
  readonly token: string;
}

/** Tokens that stay together: one, a subject's word, or the vectors of one word of textual inversion. */
export type Unit = readonly ChunkToken[];

/** Chunks of a prompt; what comes behind them is cut off. The UNet's attention grows with them. */
export const MOST_CHUNKS = 16;

const COMMA_BACKTRACK = 20;
/** Units of the end that is cut off, for a message. */
const TOLD = 64;

export interface Chunks {
  /** One or more, of up to `room` tokens. */
  readonly chunks: readonly (readonly ChunkToken[])[];
  /** The first of what did not fit. */
  readonly left: readonly ChunkToken[];
}

/**
 * @param units read one by one, and no more than needed
 * @param room tokens of a chunk: 75 for CLIP
 * @param comma the token of a comma
 */
export function cutIntoChunks(units: Iterable<Unit | typeof BREAK>, { room, comma }: { readonly room: number; readonly comma: number | undefined }): Chunks {
  const chunks: ChunkToken[][] = [];
  const left: ChunkToken[] = [];
  let chunk: ChunkToken[] = [];
  let lastComma = -1;
  const next = (beginning: ChunkToken[] = []) => {
    if (chunks.length < MOST_CHUNKS) chunks.push(chunk);
    else left.push(...chunk);
    chunk = beginning;
    lastComma = -1;
  };
  for (const unit of units) {
    if (chunks.length === MOST_CHUNKS && left.length + chunk.length > TOLD) break;
    if (unit === BREAK) {
      next();
      continue;
    }
    if (unit[0]!.id === comma) lastComma = chunk.length;
    else if (chunk.length === room && lastComma >= 0 && room - lastComma <= COMMA_BACKTRACK) next(chunk.splice(lastComma + 1));
    if (unit.length > 1 && chunk.length > 0 && chunk.length + unit.length > room) next();
    for (const token of unit) {
      if (chunk.length === room) next();
      chunk.push(token);
    }
  }
  if (chunk.length > 0 || chunks.length === 0) next();
  return { chunks, left };
}
