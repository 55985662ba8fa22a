/** Captions in text files beside the pictures, as kohya's trainers have them: cat.jpg and cat.txt, or cat.caption. */
import path from 'node:path';
import { ConesError } from '../../errors';
import { decodeText, readBeginning } from '../../util/files';
import { brief } from '../../util/show';

/** In the order of preference. */
const EXTENSIONS = ['.txt', '.caption'];
/** Bytes; no text encoder reads a caption of this length. */
const MOST = 2 ** 16;

/**
 * Of each picture its captions: a line each, blank lines left out.
 * @returns undefined when no picture has such a file
 * @throws ConesError CONES_OPTION_INVALID when some pictures have one and others not, or one is empty or long; CONES_IO
 */
export async function readTextCaptions(folder: string, names: readonly string[], pictures: readonly string[]): Promise<string[][] | undefined> {
  const byStem = new Map(EXTENSIONS.toReversed().flatMap((extension) => names.filter((name) => path.extname(name).toLowerCase() === extension).map((name) => [stem(name), name])));
  const files = pictures.map((picture) => byStem.get(stem(picture)));
  if (files.every((file) => file === undefined)) return undefined;
  const missing = pictures.find((_, i) => files[i] === undefined);
  if (missing !== undefined) {
    throw new ConesError('CONES_OPTION_INVALID', `${brief(path.join(folder, missing))} has no caption, though other pictures of the folder do: write ${brief(`${stem(missing)}.txt`)} beside it.`);
  }
  const captions: string[][] = [];
  for (const file of files) captions.push(await readLines(path.join(folder, file!)));
  return captions;
}

/** macOS may give the names of two files in different Unicode forms. */
function stem(name: string): string {
  return path.parse(name).name.normalize('NFC');
}

function decoded(file: string, bytes: Buffer): string {
  try {
    return decodeText(bytes);
  } catch (cause) {
    throw new ConesError('CONES_OPTION_INVALID', `${brief(file)} is not UTF-8: save it in that encoding.`, { cause });
  }
}

async function readLines(file: string): Promise<string[]> {
  const { bytes, size } = await readBeginning(file, MOST);
  if (size > MOST) throw new ConesError('CONES_OPTION_INVALID', `${brief(file)} has ${size} bytes, too many for captions: write one a line, up to ${MOST} bytes in all.`);
  const lines = decoded(file, bytes).split(/\r\n|\r|\n/).map((line) => line.trim()).filter((line) => line !== '');
  if (lines.length === 0) throw new ConesError('CONES_OPTION_INVALID', `${brief(file)} is empty: write the picture's caption into it, or delete it.`);
  return lines;
}
