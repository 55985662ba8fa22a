/** What makes a search's result weak, as far as that can be told: too few pictures before it, and the losses after it. */
import type { ImageInput } from '../../images/images';
import type { Warning } from '../../warning';
import type { SearchReport } from '../../analysis/measure';

/** One picture says nothing about what of it is the subject: it may as well be the scene. */
export function singlePicture(images: readonly ImageInput[], identifier: string): Warning[] {
  if (new Set(images).size !== 1) return [];
  const message = `There is one picture of ${identifier}, so that its scene is learned with it: give three to five, in different scenes, or at least a caption that describes the scene.`;
  return [{ code: 'single-picture', message }];
}

/** Compares what the search minimised (Eq. 4), and its subject's part (Eq. 2), with the untouched model's. */
export function searchWorse({ untouched, shut }: SearchReport['loss'], priorWeight: number): Warning[] {
  const total = (losses: typeof shut) => losses.subject + priorWeight * losses.prior;
  if (shut.subject < untouched.subject && total(shut) <= total(untouched)) return [];
  const both = ({ subject, prior }: typeof shut) => `subject ${subject.toFixed(4)}, prior ${prior.toFixed(4)}`;
  const message =
    `The search made things worse: on held-out noise the losses are ${both(shut)} with the neurons zeroed, and ${both(untouched)} ` +
    'with the untouched model. Search more steps, with a lower learning rate or density, or with other pictures.';
  return [{ code: 'search-worse', message }];
}
