// Windows of regions against what was counted by hand.
import type { Concept, Subject } from '../../lib';
import { placeSubjects, rowsOf } from '../../lib/engine/regions';
import { boundsOf, placeWindows } from '../../lib/engine/windows';

test('bounds are those of what has weight', () => {
  expect(boundsOf(Float32Array.of(0, 0, 0, 0, 0, 0.1, 1, 0, 0, 0, 0.5, 0), { height: 3, width: 4 })).toEqual({ top: 1, left: 1, height: 2, width: 2 });
});

test('windows are as large as the largest, in multiples, about their regions and within the picture', () => {
  const bounds = [{ top: 0, left: 0, height: 16, width: 9 }, { top: 4, left: 7, height: 4, width: 9 }];
  const { windows, tiles } = placeWindows(bounds, { latent: { height: 16, width: 16 }, multiple: 2, most: 8, tiled: false });
  expect(windows).toEqual([{ top: 0, left: 0, height: 16, width: 10 }, { top: 0, left: 6, height: 16, width: 10 }]);
  expect(tiles).toEqual([]);
  // No less than half, and where a picture is no multiple, no more than all.
  expect(placeWindows([{ top: 10, left: 3, height: 2, width: 2 }], { latent: { height: 16, width: 7 }, multiple: 8, most: 8, tiled: false }).windows).toEqual([{ top: 7, left: 0, height: 8, width: 7 }]);
});

test('tiles cover the picture, and are larger where there would be too many', () => {
  const one = { top: 0, left: 0, height: 8, width: 8 };
  const corners = (most: number) => placeWindows([one, one], { latent: { height: 16, width: 20 }, multiple: 2, most, tiled: true }).tiles.map(({ top, left, height, width }) => [top, left, height, width]);
  expect(corners(8)).toEqual([[0, 0, 8, 10], [0, 10, 8, 10], [8, 0, 8, 10], [8, 10, 8, 10]]);
  expect(corners(4)).toEqual([[0, 0, 16, 18], [0, 2, 16, 18]]);
});

test('drawn alone, each has its own part of picture and prompt, and weights add up to 1', () => {
  const subjects: Subject[] = [{ identifier: 'V1*', category: 'cat', token: 'x' }, { identifier: 'V2*', category: 'owl', token: 'y' }];
  const concepts = subjects.map((subject) => ({ subjects: [subject] }) as unknown as Concept);
  const drawn = { prompt: 'a V1* cat next to a V2* owl at night', negativePrompt: '', concepts };
  const latent = { height: 16, width: 16 };
  const rows = rowsOf(drawn, placeSubjects({ 'V1*': [0, 0, 0.5, 0.5], 'V2*': [0.5, 0.5, 1, 1] }, drawn, latent), { feather: 0, regionPrompt: 'alone' }, latent);
  const corner = (top: number, left: number) => ({ top, left, height: 8, width: 8 });
  expect(rows.map(({ prompt, window, concepts: { length } }) => [prompt, window, length])).toEqual([
    ['a V1* cat at night', corner(0, 0), 1],
    ['a V2* owl at night', corner(8, 8), 1],
    ...[corner(0, 0), corner(0, 8), corner(8, 0), corner(8, 8)].map((window) => ['at night', window, 0]),
  ]);
  for (let i = 0; i < 256; i++) expect(rows.reduce((sum, { weights }) => sum + weights![i]!, 0)).toBeCloseTo(1, 6);
});
