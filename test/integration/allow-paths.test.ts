// An engine that reads no files for what its callers were sent: allowPaths: false.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { Clip, type Engine } from '../../lib';
import { conceptOf, load, picture, rejection, searchOptions } from '../runtime/model';

const PAIR = path.join(__dirname, '../../models/mini-clip');

let folder: string;
let file: string;
let engine: Engine;
let clip: Clip;
beforeAll(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'cones-paths-'));
  file = path.join(folder, 'a.png');
  writeFileSync(file, await picture(1));
  engine = await load({ allowPaths: false });
  clip = await Clip.load(PAIR, { threads: 1, allowPaths: false });
});
afterAll(async () => {
  await Promise.all([engine.dispose(), clip.dispose()]);
  rmSync(folder, { recursive: true });
});

const refine = (subject: object, more: object = {}) => engine.startRefinement({ subjects: [{ concept: conceptOf(engine, 0), images: [file] }, { concept: conceptOf(engine, 1, 7, 'V2*', 'z'), images: [], ...subject }], ...more });

test.each<[string, RegExp, () => PromiseLike<unknown>]>([
  ['encodeImage', /images/, () => engine.encodeImage([file])],
  ['encodeImage of a URL', /images/, () => engine.encodeImage([pathToFileURL(file)])],
  ['encodeImage of a file that is not there', /images/, () => engine.encodeImage(['/no/such/file'])],
  ['findConcept', /images/, async () => engine.findConcept(await searchOptions({ images: [await picture(1), file] }))],
  ['prior pictures', /priorImages/, async () => engine.findConcept(await searchOptions({ priorImages: [file], priorCount: undefined }))],
  ['a CLIP pair', /report\.clip/, async () => engine.findConcept(await searchOptions({ report: { pictures: 1, clip: PAIR } }))],
  ['a cache', /cacheDir/, async () => engine.findConcept(await searchOptions({ cacheDir: path.join(folder, 'cache') }))],
  ['drawAgain', /picture/, () => engine.drawAgain(file)],
  ['drawAgain of a URL', /picture/, () => engine.drawAgain(pathToFileURL(file))],
  ['refineConcepts', /subjects\.images/, () => refine({})],
  ['clip.embedImages', /images/, () => clip.embedImages([file])],
])('%s is refused', async (_, option, call) => {
  const error = await rejection(call());
  expect(error).toMatchObject({ code: 'CONES_OPTION_INVALID' });
  expect(error.message).toMatch(option);
  expect(error.message).toContain('allowPaths: false');
  // Whether there is such a file is not told either.
  expect(error.message).not.toContain(folder);
  expect(existsSync(path.join(folder, 'cache'))).toBe(false);
});

test('bytes work, however they are held', async () => {
  const bytes = await picture(1);
  const wanted = (await engine.encodeImage([bytes])).data;
  for (const image of [new Blob([bytes]), new File([bytes], file), Uint8Array.from(bytes).buffer]) expect((await engine.encodeImage([image])).data).toEqual(wanted);
  expect(await clip.embedImages([bytes])).toHaveLength(1);
  const { images } = await engine.generate({ prompt: 'a', steps: 1, seed: 1 });
  expect((await engine.drawAgain(new Blob([await images[0]!.toBuffer()]))).images[0]!.data).toEqual(images[0]!.data);
  const search = await engine.startSearch(await searchOptions({ report: { pictures: 1, clip } }));
  search.dispose();
});

test('without it a path is a path', async () => {
  await using other = await load();
  expect((await other.encodeImage([file])).data).toEqual((await engine.encodeImage([await picture(1)])).data);
});
