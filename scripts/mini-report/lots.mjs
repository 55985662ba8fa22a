// Which subjects are drawn together: by lot, so that nobody chooses lists that go well. `npm run mini:report -- --several` reads them
// from lots.json, which was committed before the first measurement; `node scripts/mini-report/lots.mjs` prints it anew.
import { createHash } from 'node:crypto';
import { pathToFileURL } from 'node:url';
import { readSubjects } from './subjects.mjs';

const COUNTS = { 2: 12, 3: 6, 4: 3 };

/** How many rare words models/mini has: subjects that far apart share one. */
const TOKENS = 16;

/**
 * Lists of subjects' names. The lot of a subject in a list is a hash of both; the lowest ones make the list, in this order, but for
 * those that share a category or a rare word with one that is in it already.
 */
export function drawLots(subjects) {
  const lists = [];
  for (const [size, count] of Object.entries(COUNTS)) {
    for (let i = 0; i < count; i++) {
      const lot = ({ name }) => createHash('sha256').update(`${size} subjects, list ${i}: ${name}`).digest('hex');
      const chosen = [];
      for (const subject of [...subjects].sort((a, b) => (lot(a) < lot(b) ? -1 : 1))) {
        const alike = ({ category, index }) => category === subject.category || (index - subject.index) % TOKENS === 0;
        if (chosen.length < Number(size) && !chosen.some(alike)) chosen.push(subject);
      }
      lists.push(chosen.map(({ name }) => name));
    }
  }
  return lists;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const subjects = (await readSubjects()).map(({ name, category }, index) => ({ name, category, index }));
  console.log(JSON.stringify(drawLots(subjects), null, 1).replace(/\[\n\s+"/g, '["').replace(/",\n\s+"/g, '", "').replace(/"\n\s+\]/g, '"]'));
}
