/** `cones generate --prompts`: one process draws the prompts of a file, or those that another program writes to it, a line each. */
import path from 'node:path';
import { z } from 'zod';
import { Concept } from '../concept';
import type { Engine } from '../engine';
import type { AdapterChoice } from '../engine/adapters';
import type { GenerateOptions } from '../engine/generate';
import { AbortError, ConesError, type ErrorCode } from '../errors';
import { toConesError } from '../native';
import { identifierKey } from '../text/identifier-key';
import { readRegularFile } from '../util/files';
import { linesOf } from '../util/lines';
import { parseOptions } from '../util/options';
import { brief, reason } from '../util/show';
import type { Warning } from '../warning';
import { loadAdapters } from './adapter-argument';
import { loadEngine, modelFolder, seed } from './arguments';
import type { GenerateFlags } from './generate';
import { type Io, printEvent, printJsonLine, printLines, printNote, printWarnings } from './io';
import { duration } from './progress';
import { regionsOf } from './region-flag';
import { Rescue } from './rescue';
import { saveEach } from './save-pictures';
import { assertSavable } from './trial';

/** Prompts that are drawn at a time: their steps are taken together. */
const AT_A_TIME = 8;
const MOST_BYTES = 2 ** 26;
/** Digits of a prompt's number in the names of its pictures; more when there are more. */
const DIGITS = 4;

/** A line's own options, in place of the flags'. Whether their values make sense is for the engine to say. It names no file. */
const lineSchema = z.strictObject({
  prompt: z.string(),
  negativePrompt: z.string().optional(),
  promptSyntax: z.string().optional(),
  count: z.number().optional(),
  seed: z.union([z.number(), z.string().transform(seed)], 'must be a number, or a string of digits').optional(),
  sampler: z.string().optional(),
  useKarrasSigmas: z.boolean().optional(),
  steps: z.number().optional(),
  guidance: z.number().optional(),
  eta: z.number().optional(),
  width: z.number().optional(),
  height: z.number().optional(),
  strength: z.number().optional(),
  imageGuidance: z.number().optional(),
  /** Identifiers of those among --concept that it is drawn with. Default: all. */
  concepts: z.array(z.string()).max(256).optional(),
});

type Line = z.output<typeof lineSchema>;

/** What became of a line. */
interface Outcome {
  readonly line: number;
  readonly prompt: string;
  readonly milliseconds: number;
  readonly pictures: readonly { readonly file: string; readonly metadata: Readonly<Record<string, string>>; readonly width: number; readonly height: number }[];
  readonly warnings: readonly Warning[];
  readonly error?: ConesError;
}

/** The engine itself is at its end, or the user wants no more. */
const FATAL: readonly ErrorCode[] = ['CONES_ABORTED', 'CONES_DISPOSED', 'CONES_DEVICE_LOST'];

export async function generatePrompts(source: string, flags: GenerateFlags, io: Io): Promise<void> {
  const concepts = await Promise.all((flags.concept ?? []).map((file) => Concept.load(file)));
  const chunks = source === '-' ? (io.stdin ?? []) : [await readRegularFile(source, { most: MOST_BYTES })];
  await using engine = await loadEngine(flags, io);
  const adapters = await loadAdapters(engine, flags.adapter, io.signal);
  const failed: ConesError[] = [];
  const print = (outcome: Outcome) => {
    if (outcome.error) failed.push(outcome.error);
    if (outcome.error && FATAL.includes(outcome.error.code)) throw outcome.error;
    printOutcome(io, outcome, flags.json === true);
  };

  let end!: (error: unknown) => void;
  const ended = new Promise<never>((_, reject) => (end = reject));
  ended.catch(() => undefined);
  const { signal } = io;
  signal.addEventListener('abort', () => end(new AbortError('Interrupted.', { cause: signal.reason })), { once: true });
  const lines = linesOf(chunks);
  const underWay = new Set<Promise<void>>();
  let printed = Promise.resolve();
  let count = 0;
  try {
    // Whoever writes the lines may never end.
    for (let next; !(next = await Promise.race([lines.next(), ended])).done; ) {
      if (!/\P{White_Space}/u.test(next.value)) continue;
      const drawn = drawLine(++count, next.value, { engine, flags, concepts, adapters, io });
      // In their order, each as soon as it can be.
      const told = (printed = printed.then(async () => print(await drawn)));
      underWay.add(told);
      told.then(() => underWay.delete(told), end);
      if (underWay.size >= AT_A_TIME) await Promise.race([...underWay, ended]);
    }
    await Promise.race([printed, ended]);
  } finally {
    // A pipe that is still open would keep the process.
    if (source === '-') (io.stdin as { destroy?: () => void } | undefined)?.destroy?.();
    await Promise.allSettled(underWay);
  }
  const [first] = failed;
  if (first) throw new ConesError(first.code, `${failed.length} of ${count} prompts could not be drawn; the first: ${first.message}`, { cause: first });
}

interface Given {
  readonly engine: Engine;
  readonly flags: GenerateFlags;
  readonly concepts: readonly Concept[];
  readonly adapters: readonly AdapterChoice[];
  readonly io: Io;
}

/** Draws and saves the pictures of a line. What goes wrong is part of the outcome: other lines are drawn all the same. */
async function drawLine(line: number, text: string, { engine, flags, concepts, adapters, io }: Given): Promise<Outcome> {
  const start = performance.now();
  let prompt = text;
  const outcome = (more: Pick<Outcome, 'pictures' | 'warnings'> & Partial<Outcome>): Outcome => ({ line, prompt, milliseconds: Math.round(performance.now() - start), ...more });
  try {
    const { concepts: identifiers, ...own } = parseLine(text);
    prompt = own.prompt;
    const settings = { ...settingsOf(flags), ...own };
    const chosen = identifiers ? chooseConcepts(identifiers, concepts) : concepts;
    const output = numbered(flags.output, line);
    await assertSavable({ ...settings, output, concepts: chosen }, () => modelFolder(flags, io));
    const { images, warnings } = await engine.generate({
      ...(settings as GenerateOptions),
      concepts: chosen,
      adapters,
      onProgress: (progress) => io.progress === 'json' && printEvent(io, 'progress', { phase: 'draw', line, ...progress }),
      signal: io.signal,
    });
    const rescue = new Rescue();
    const files = await saveEach(rescue, output, images);
    const pictures = images.map(({ metadata, width, height }, i) => ({ file: files[i]!, width, height, metadata }));
    const error = rescue.problem === undefined ? {} : { error: new ConesError('CONES_IO', rescue.problem) };
    return outcome({ pictures, warnings, ...error });
  } catch (error) {
    return outcome({ pictures: [], warnings: [], error: toConesError(error) });
  }
}

/** @throws ConesError CONES_OPTION_INVALID */
function parseLine(text: string): Line {
  if (!text.trimStart().startsWith('{')) return { prompt: text };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new ConesError('CONES_OPTION_INVALID', `A line that begins with { must be a JSON object of options, such as {"prompt": "a cat", "seed": 7}: ${brief(reason(cause))}.`, { cause });
  }
  return parseOptions('generate', lineSchema, value);
}

function settingsOf(flags: GenerateFlags) {
  const { negativePrompt, promptSyntax, count, seed: own, sampler, karras: useKarrasSigmas, steps, guidance, eta, width, height, batchSize } = flags;
  const { image, strength, mask, depth, imageGuidance, posterior, drafts } = flags;
  const from = { image, strength, mask, depth, imageGuidance, posterior, decoder: drafts === undefined ? undefined : ('drafts' as const) };
  const { region, feather, regionPrompt, embeddingNorm } = flags;
  const regions = region && { regions: regionsOf(region) };
  return { negativePrompt, promptSyntax, count, seed: own, sampler, useKarrasSigmas, steps, guidance, eta, width, height, batchSize, ...from, ...regions, feather, regionPrompt, embeddingNorm };
}

/** Those of the given concepts that have one of these identifiers. */
function chooseConcepts(identifiers: readonly string[], concepts: readonly Concept[]): Concept[] {
  const of = (identifier: string) => concepts.filter(({ subjects }) => subjects.some((subject) => identifierKey(subject.identifier) === identifierKey(identifier)));
  const unknown = identifiers.find((identifier) => of(identifier).length === 0);
  if (unknown !== undefined) throw new ConesError('CONES_OPTION_INVALID', `No --concept has the identifier ${brief(unknown)}: give its file to the command.`);
  return [...new Set(identifiers.flatMap(of))];
}

/** out.png → out-0007.png */
function numbered(output: string, line: number): string {
  const { dir, name, ext } = path.parse(output);
  return path.join(dir, `${name}-${String(line).padStart(DIGITS, '0')}${ext}`);
}

function printOutcome(io: Io, { error, ...drawn }: Outcome, json: boolean): void {
  const { line, pictures, milliseconds } = drawn;
  printWarnings(io, drawn.warnings.map(({ code, message }) => ({ code, message: `Prompt ${line}: ${message}` })));
  if (error) printNote(io, 'error', error.code, `Prompt ${line}: ${error.message}`);
  if (json) printJsonLine(io, { ...drawn, ...(error ? { error: { code: error.code, message: error.message } } : {}) });
  else printLines(io, pictures.map(({ file, metadata }) => `${file}  seed ${metadata['seed']}  ${duration(milliseconds)}`));
}
