// A prompt of several subjects as one of some of them.
import type { Subject } from '../../lib';
import { withoutSubjects } from '../../lib/text/one-subject';

const subject = (identifier: string, category: string): Subject => ({ identifier, category, token: identifier.toLowerCase() });
const [cat, owl, dog] = [subject('V1*', 'cat'), subject('V2*', 'owl'), subject('<dog>', 'guide dog')];
const all = [cat, owl, dog];

test.each<[string, Subject[], string]>([
  ['a photo of a V1* cat next to an V2* owl in a room', [owl], 'a photo of a V1* cat in a room'],
  ['a photo of a V1* cat next to an V2* owl in a room', [cat], 'a photo of an V2* owl in a room'],
  ['a V1* cat, a v2* Owl and the <dog> guide dog at night', [cat, owl], 'the <dog> guide dog at night'],
  ['a V1* cat, a V2* owl and the <dog> guide dog at night', [owl], 'a V1* cat and the <dog> guide dog at night'],
  ['a V1* cat, a V2* owl and the <dog> guide dog at night', [owl, dog], 'a V1* cat at night'],
  ['V1* cat to the left of V2* owl', [cat], 'V2* owl'],
  // No list: the nouns stay, and so do words that begin like a category.
  ['a V1* cat sees an V2* owl', [owl], 'a V1* cat sees an owl'],
  ['a V1* catfish and a V2* owl', [cat], 'a catfish and a V2* owl'],
  // Nobody is left.
  ['a photo of a V1* cat next to a V2* owl in a room', all, 'a photo in a room'],
  ['a V1* cat in a room', all, 'in a room'],
  ['a V1* cat', all, ''],
  ['', [cat], ''],
])('%j without %#', (text, dropped, want) => {
  expect(withoutSubjects(text, all, dropped)).toBe(want);
});

test('who is not named changes nothing', () => {
  expect(withoutSubjects('a V1* cat and a bird', [cat, owl], [owl])).toBe('a V1* cat and a bird');
});
