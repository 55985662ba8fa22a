import type { Command } from 'commander';
import { Concept } from '../concept';
import type { Engine } from '../engine';
import { ConesError } from '../errors';
import { priorCaption, subjectCaption } from '../text/prompt';
import { writeFileAtomic } from '../util/files';
import { addEngineFlags, addOutputFlags, type EngineFlags, loadEngine, number, type OutputFlags, seed } from './arguments';
import { assertWritable, type Io, printJson, printLines } from './io';
import { ProgressBars } from './progress';
import { type PromptPictures, reportPage } from './report-page';

interface Flags extends EngineFlags, OutputFlags {
  readonly output: string;
  readonly pictures?: number;
  readonly steps?: number;
  readonly seed?: number | bigint;
}

const [PICTURES, STEPS] = [2, 20];
/** Subjects of a union that are drawn. */
const MOST_SUBJECTS = 8;

/** `cones report`: what a concept is and does, as one page. */
export function addReport(program: Command, io: Io): void {
  const command = program
    .command('report')
    .description('Write what is in a concept file as one HTML page: losses, densities, pictures before and after, masks.')
    .argument('<concept>', 'concept file')
    .requiredOption('-o, --output <file>', 'page to write, such as cat.html')
    .option('--pictures <n>', `pictures to draw per prompt, before and after; 0: none, and no model is needed (default: ${PICTURES})`, number)
    .option('--steps <n>', `solver steps of these pictures (default: ${STEPS})`, number)
    .option('--seed <n>', 'of these pictures (default: 0)', seed);
  addEngineFlags(command);
  addOutputFlags(command, { long: true });
  command.action((file: string, flags: Flags) => report(file, flags, io));
}

async function report(file: string, flags: Flags, io: Io): Promise<void> {
  const concept = await Concept.load(file);
  await assertWritable(flags.output);
  const pictures = flags.pictures === 0 ? [] : await drawPictures(concept, flags, io);
  await writeFileAtomic(flags.output, Buffer.from(await reportPage(file, concept, pictures)));
  if (flags.json) printJson(io, { file: flags.output, pictures: pictures.length });
  else printLines(io, [flags.output]);
}

async function drawPictures(concept: Concept, flags: Flags, io: Io): Promise<PromptPictures[]> {
  await using engine = await loadEngine(flags, io);
  using bars = new ProgressBars(io);
  try {
    concept.assertBaseModel(engine.fingerprint);
  } catch (cause) {
    const { code, message } = cause as ConesError;
    throw new ConesError(code, `${message} Give its folder with --model, or --pictures 0 for a page without pictures.`, { cause });
  }
  const subjects = concept.subjects.slice(0, MOST_SUBJECTS);
  // The untouched model knows no identifier: it gets the rare token itself.
  const named = subjects.map(({ identifier, token, category }) => ({ before: subjectCaption(token, category), after: subjectCaption(identifier, category) }));
  const plain = [...new Set(subjects.map(({ category }) => priorCaption(category)))].map((prompt) => ({ before: prompt, after: prompt }));
  const prompts = [...named, ...plain];
  const each = flags.pictures ?? PICTURES;
  const draw = async (when: 'before' | 'after', options: Partial<Parameters<Engine['generate']>[0]>): Promise<Buffer[]> => {
    const { images } = await engine.generate({
      prompt: prompts.map((prompt) => prompt[when]),
      count: each,
      steps: flags.steps ?? STEPS,
      seed: flags.seed ?? 0,
      onProgress: (progress) => bars.update({ phase: when, ...progress }),
      signal: io.signal,
      ...options,
    });
    return Promise.all(images.map((image) => image.toBuffer({ format: 'jpeg', quality: 90 })));
  };
  const [before, after] = [await draw('before', {}), await draw('after', { concepts: [concept] })];
  const of = (files: readonly Buffer[], i: number) => files.slice(i * each, (i + 1) * each);
  return prompts.map(({ after: prompt }, i) => ({ prompt, before: of(before, i), after: of(after, i) }));
}
