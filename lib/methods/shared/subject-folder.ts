/**
 * A folder with the pictures of one subject and what they show, as examples/subjects has them: any pictures, in the order of
 * their names, and captions.json if there is one, or else a text file beside each picture (text-captions.ts),
 *
 *     { "category": "cat", "captions": ["a photo of a cat on the beach", ["a cat at night", "a photo of a cat at night"], …] }
 *
 * with an entry per picture, each a caption or a list of alternatives.
 */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { ConesError } from '../../errors';
import { ioError, readJsonFile } from '../../util/files';
import { searchSchema } from '../cones/options';
import { parseOptions } from '../../util/options';
import { picturesAmong } from '../../images/picture-names';
import { withIdentifier } from '../../text/prompt';
import { ownOptions } from '../../util/reading';
import { brief } from '../../util/show';
import { readTextCaptions } from './text-captions';

/** What {@link FindConceptOptions} takes of it. */
export interface SubjectFolder {
  readonly images: readonly string[];
  readonly category: string;
  readonly identifier: string;
  /** Missing where the folder has none. */
  readonly captions?: readonly (readonly string[])[];
}

const CAPTIONS = 'captions.json';

const text = z.string().trim().min(1).max(10_000);
const schema = z.object({
  category: searchSchema.shape.category.optional(),
  captions: z.array(z.union([text, z.array(text).min(1).max(1000)], 'must be a caption, or a list of alternatives')).max(1000).optional(),
});

const optionsSchema = z.strictObject({
  folder: z.string().min(1),
  identifier: searchSchema.shape.identifier,
  category: searchSchema.shape.category.optional(),
});

/**
 * Reads a subject's folder. Captions that do not name the subject get the identifier before the category: "a photo of an
 * owl at night" becomes "a photo of a V1* owl at night".
 * @param options `identifier`: default 'V1*'; `category`: default the folder's own
 * @throws ConesError CONES_IO, CONES_IMAGES_MISSING when there is no picture, CONES_IMAGE_INVALID when there is one of a format that is
 *   not read, CONES_OPTION_INVALID when captions are wrong or missing for some pictures, or nobody says what the subject is
 */
export async function readSubject(
  folder: string,
  options: { readonly identifier?: string | undefined; readonly category?: string | undefined } = {},
): Promise<SubjectFolder> {
  const given = parseOptions('readSubject', optionsSchema, ownOptions('readSubject', options, { folder }));
  const names = await readdir(given.folder).catch((cause: unknown) => {
    throw ioError(`${brief(given.folder)} cannot be read`, cause);
  });
  const images = picturesAmong(given.folder, names).sort(byNumber);
  if (images.length === 0) {
    throw new ConesError('CONES_IMAGES_MISSING', `${brief(given.folder)} has no pictures; put three to five of the subject there (PNG, JPEG, WebP …).`);
  }
  const said = names.includes(CAPTIONS) ? await readCaptions(path.join(given.folder, CAPTIONS)) : {};
  const category = given.category ?? said.category;
  if (category === undefined) {
    throw new ConesError('CONES_OPTION_INVALID', `${brief(given.folder)} does not say what the subject is: give the category, or write ${CAPTIONS} with {"category": "cat"}.`);
  }
  if (said.captions && said.captions.length !== images.length) {
    throw new ConesError(
      'CONES_OPTION_INVALID',
      `${brief(path.join(given.folder, CAPTIONS))} has ${said.captions.length} captions for ${images.length} pictures; give one entry each.`,
    );
  }
  const { identifier } = given;
  // Those of captions.json go first.
  const captions = said.captions?.map((list) => [list].flat()) ?? (await readTextCaptions(given.folder, names, images));
  return {
    images: images.map((name) => path.join(given.folder, name)),
    category,
    identifier,
    ...(captions ? { captions: captions.map((list) => list.map((caption) => withIdentifier(caption, category, identifier))) } : {}),
  };
}

/** "2.png" before "10.png". */
function byNumber(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true });
}

async function readCaptions(file: string): Promise<z.output<typeof schema>> {
  const result = schema.safeParse(await readJsonFile(file));
  if (result.success) return result.data;
  const { path: where, message } = result.error.issues[0]!;
  throw new ConesError('CONES_OPTION_INVALID', `${brief(file)}: ${brief(where.map(String).join('.')) || 'all of it'}: ${brief(message)}; it should be {"category": "cat", "captions": ["a photo of a cat", …]}.`);
}
