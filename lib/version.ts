import { readFileSync } from 'node:fs';
import path from 'node:path';

/** The version of this package, as concept files and pictures record it. */
export const version: string = (
  JSON.parse(readFileSync(path.join(__dirname, '..', 'package.json'), 'utf8')) as { version: string }
).version;
