// docs/guide/models.md says which models load: its table is held to what the reader of model folders does with their configs.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { loadModelConfig } from '../../lib/models';
import { MODELS, writeModel } from '../models-in-the-wild';

/** Rows of the table under "What loads": name and outcome, `loads` or an error's code. */
function rows(): [string, string][] {
  const guide = readFileSync(path.join(__dirname, '../../docs/guide/models.md'), 'utf8');
  const [, section = ''] = guide.split('## What loads');
  const lines = section.split('\n## ')[0]!.split('\n').filter((line) => line.startsWith('| `'));
  return lines.map((line) => {
    const [, name = '', outcome = ''] = line.split('|').map((cell) => cell.trim().replaceAll('`', ''));
    return [name, outcome];
  });
}

let folder: string;
beforeEach(() => void (folder = mkdtempSync(path.join(os.tmpdir(), 'cones-guide-'))));
afterEach(() => rmSync(folder, { recursive: true }));

test('the table has a row for every model whose configs are here, and no other', () => {
  expect(rows().map(([name]) => name)).toEqual(Object.keys(MODELS));
});

test.each(rows())('%s: %s', async (name, said) => {
  writeModel(folder, MODELS[name] ?? {});
  const outcome = await loadModelConfig(folder).then(
    () => 'loads',
    ({ code }: { code: string }) => code,
  );
  expect(outcome).toBe(said);
});
