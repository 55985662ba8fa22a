import { ConesError } from '../errors';

/** Something that only a faulty or hostile program writes: the file's checksum is right. */
export function malformed(what: string, cause?: unknown): ConesError {
  const message = `${what} The checksum is right, so the program that wrote the file is at fault: save the concept again with cones.`;
  return new ConesError('CONES_CONCEPT_CORRUPT', message, { cause });
}
