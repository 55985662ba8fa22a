/** Drawing a picture again from what its file says. */
import { z } from 'zod';
import type { Adapter } from '../adapter';
import type { Concept } from '../concept';
import { ConesError } from '../errors';
import { depthOption, type DepthMap, type EditPicture, editPictureOption } from '../images/edit-inputs';
import type { ImageInput } from '../images/images';
import { conceptOption, functionOption, imageOption, parseOptions, signalOption } from '../util/options';
import { type PictureSettings, readPictureSettings } from '../images/picture-settings';
import { ownOptions } from '../util/reading';
import { brief } from '../util/show';
import { version } from '../version';
import type { Warning } from '../warning';
import { adapterOption, type ChosenAdapter } from './adapters';
import { hashInputs } from './editing';
import { latentSize, nativeSize } from './pictures';
import type { GenerateOptions, GenerateProgress, GenerateResult } from './generate';
import { admit } from './generation';
import type { Session } from './session';

export interface DrawAgainOptions extends Pick<GenerateOptions, 'batchSize' | 'onProgress' | 'signal'> {
  /** The concepts that the picture was drawn with, in any order. Default: none. */
  readonly concepts?: readonly Concept[];
  /** The adapters that the picture was drawn with, in any order; weights are as it says. Default: none. */
  readonly adapters?: readonly Adapter[];
  /** What it was drawn from besides its prompt, which its file does not hold: the very picture, mask and depth. */
  readonly image?: EditPicture;
  readonly mask?: EditPicture;
  readonly depth?: EditPicture | DepthMap;
}

const schema = z.strictObject({
  picture: imageOption,
  concepts: z.array(conceptOption).default([]),
  image: editPictureOption.optional(),
  mask: editPictureOption.optional(),
  depth: depthOption.optional(),
  adapters: z.array(adapterOption).default([]),
  batchSize: z.int().min(1).max(1024).optional(),
  onProgress: functionOption<(progress: GenerateProgress) => void>(),
  signal: signalOption,
});

/**
 * Engine.drawAgain.
 * @throws ConesError CONES_SETTINGS_MISSING, CONES_PICTURE_MISMATCH, CONES_IO, CONES_IMAGE_INVALID, and as {@link admit}
 */
export async function drawAgain(session: Session, source: ImageInput, options: DrawAgainOptions = {}): Promise<GenerateResult> {
  const { picture, concepts: given, adapters: givenAdapters, image, mask, depth, ...rest } = parseOptions('drawAgain', schema, ownOptions('drawAgain', options, { picture: source }));
  session.assertUsable();
  session.assertPathsAllowed('drawAgain', { picture, image, mask, depth });
  const settings = await readPictureSettings(picture);
  const concepts = chooseConcepts(settings, given);
  const adapters = chooseAdapters(settings, givenAdapters.map((adapter) => ({ adapter, weight: 1 })));
  const elsewhere = compareEngines(settings, { fingerprint: session.fingerprint, instructionSet: session.model.isa });
  const inputs = { ...(image === undefined ? {} : { image }), ...(mask === undefined ? {} : { mask }), ...(depth === undefined ? {} : { depth }) };
  await checkInputs(session, settings, inputs);
  const { images, warnings } = await admit(session, { ...settings.options, concepts, adapters, ...inputs, ...rest } as GenerateOptions);
  return { images, warnings: [...elsewhere, ...warnings] };
}

/**
 * Whether a picture is drawn again from the very things that it was drawn from.
 * @throws ConesError CONES_PICTURE_MISMATCH
 */
async function checkInputs(session: Session, { options, drawnFrom, ignored }: PictureSettings, given: Pick<DrawAgainOptions, 'image' | 'mask' | 'depth'>): Promise<void> {
  // Other programs do not say.
  if (ignored) return;
  for (const name of ['image', 'mask', 'depth'] as const) {
    if (given[name] === undefined && drawnFrom[name] !== undefined) throw mismatch(`The picture was drawn from ${CALLED[name]}, which its file does not hold: give it as ${name}`);
    if (given[name] !== undefined && drawnFrom[name] === undefined) throw mismatch(`The picture was not drawn from ${CALLED[name]}: leave ${name} out`);
  }
  const { image, mask, depth } = given;
  if (image === undefined) return;
  const own = nativeSize(session);
  const size = { width: options.width ?? own.width, height: options.height ?? own.height };
  const found = await hashInputs({ image, ...(mask === undefined ? {} : { mask }), ...(depth === undefined ? {} : { depth }) }, size, latentSize(session, size.height, size.width));
  const other = (['image', 'mask', 'depth'] as const).find((name) => found[name] !== drawnFrom[name]);
  if (other) throw mismatch(`The picture was drawn from another ${other} than the one that is given: give the very one`);
}

const CALLED = { image: 'a picture', mask: 'a mask', depth: 'a depth map' } as const;

/**
 * Of the given concepts those that a picture was drawn with, in its order; all, where another program drew it.
 * @throws ConesError CONES_PICTURE_MISMATCH unless they are all that are given, and all that there were
 */
export function chooseConcepts({ conceptHashes, subjects, ignored }: PictureSettings, given: readonly Concept[]): Concept[] {
  if (ignored) return [...given];
  const byHash = new Map(given.map((concept) => [concept.hash, concept]));
  const chosen = conceptHashes.map((hash) => {
    const concept = byHash.get(hash);
    if (concept === undefined) {
      throw mismatch(`The picture was drawn with concepts of ${brief(subjects)}, of which the one with the hash ${hash} is not given: give the very concept (cones inspect shows the hash of a file)`);
    }
    return concept;
  });
  const other = given.find((concept) => !chosen.includes(concept) && !conceptHashes.includes(concept.hash));
  if (other) throw mismatch(`The picture was not drawn with the concept of ${brief(other.subjects.map(({ identifier }) => identifier).join(', '))}: leave it out`);
  return chosen;
}

/**
 * The adapters that a picture was drawn with, of the given ones, in its order and with its weights; all as they are given, where
 * another program drew it.
 * @throws ConesError CONES_PICTURE_MISMATCH unless they are all that are given, and all that there were
 */
export function chooseAdapters({ adapters, adapterNames, ignored }: PictureSettings, given: readonly ChosenAdapter[]): ChosenAdapter[] {
  if (ignored) return [...given];
  const byHash = new Map(given.map(({ adapter }) => [adapter.hash, adapter]));
  const chosen = adapters.map(({ hash, weight }) => {
    const adapter = byHash.get(hash);
    if (adapter === undefined) {
      throw mismatch(`The picture was drawn with the adapters ${brief(adapterNames)}, of which the one whose file has the hash ${hash} is not given: load the very file`);
    }
    return { adapter, weight };
  });
  const other = given.find(({ adapter }) => !adapters.some(({ hash }) => hash === adapter.hash));
  if (other) throw mismatch(`The picture was not drawn with the adapter ${brief(other.adapter.name)}: leave it out`);
  return chosen;
}

/**
 * Whether this engine draws the very picture.
 * @throws ConesError CONES_PICTURE_MISMATCH when the base model is another
 */
export function compareEngines(picture: PictureSettings, engine: { readonly fingerprint: string; readonly instructionSet: string }): Warning[] {
  if (picture.model !== null && picture.model !== engine.fingerprint) {
    throw mismatch(`The picture was drawn with the base model ${brief(picture.model)}, but this is ${engine.fingerprint}: load the model that it was drawn with`);
  }
  if (picture.ignored) return [elsewhere(picture.ignored)];
  const differences = [
    ...(picture.instructionSet !== null && picture.instructionSet !== engine.instructionSet ? [`${brief(picture.instructionSet)} instructions, not ${engine.instructionSet}`] : []),
    ...(picture.engine !== null && picture.engine !== `cones ${version}` ? [`${brief(picture.engine)}, not ${version}`] : []),
  ];
  if (differences.length === 0) return [];
  return [{ code: 'drawn-elsewhere', message: `The picture was drawn with ${differences.join(', and ')}: what is drawn now may differ a little from it.` }];
}

/** Its seeds are other noise: that of torch's generators, on the CPU or on CUDA. */
function elsewhere(ignored: readonly string[]): Warning {
  const left = ignored.length > 0 ? ` Left out: ${brief(ignored.join(', '))}.` : '';
  return { code: 'drawn-elsewhere', message: `The picture was drawn by another program, whose seeds are other noise: what is drawn now is another picture of the same settings.${left}` };
}

function mismatch(problem: string): ConesError {
  return new ConesError('CONES_PICTURE_MISMATCH', `${problem}.`);
}
