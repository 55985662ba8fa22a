import { Command, CommanderError } from 'commander';
import { toConesError } from '../native';
import { brief, show, visible } from '../util/show';
import { addTrain } from './train';
import { version } from '../version';
import { addCompletion } from './completion';
import { addConvert } from './convert';
import { addDevices } from './devices';
import { addFind } from './find';
import { addGenerate } from './generate';
import { addInspect } from './inspect';
import { type Io, printEvent, printNote } from './io';
import { addPull } from './pull';
import { addRefine } from './refine';
import { addReport } from './report';

/** Exit codes besides 0 (done) and 1 (any other error). */
const EXIT_CODES: Readonly<Record<string, number>> = {
  // The command line is wrong, as the shell's own commands have it.
  CONES_OPTION_INVALID: 2,
  // 128 + SIGINT
  CONES_ABORTED: 130,
};

/**
 * Runs one command line.
 * @param args without node and script
 * @returns the exit code
 */
export async function main(args: readonly string[], outer: Io): Promise<number> {
  const flagOf = (name: string): unknown => program.commands.map((command): unknown => command.opts()[name]).find((value) => value !== undefined);
  const io: Io = {
    stdout: outer.stdout,
    stderr: outer.stderr,
    // Neither before somebody takes it.
    get stdin() {
      return outer.stdin;
    },
    get signal() {
      return outer.signal;
    },
    get progress() {
      return flagOf('progress') as Io['progress'];
    },
  };
  const program = createProgram(io);
  try {
    await program.parseAsync(args, { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return usageError(error, io);
    const { code, message } = toConesError(error);
    const verbose = flagOf('verbose') !== undefined;
    if (io.progress === 'json') printEvent(io, 'error', { code, message, ...(verbose ? { stack: stackOf(error) } : {}) });
    else printNote(io, 'error', code, message);
    if (verbose && io.progress !== 'json') io.stderr.write(`${stackOf(error).split('\n').map(visible).join('\n')}\n`);
    return EXIT_CODES[code] ?? 1;
  }
}

/** The commands with their flags. */
export function createProgram(io: Io): Command {
  const program = new Command('cones')
    .description('Finds the concept neurons of a subject in a text-to-image model, and draws the subject with them zeroed.')
    .version(version)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      // Printed by main(), like all other errors.
      outputError: () => undefined,
    });
  addFind(program, io);
  addRefine(program, io);
  addTrain(program, io);
  addGenerate(program, io);
  addInspect(program, io);
  addReport(program, io);
  addConvert(program, io);
  addDevices(program, io);
  addPull(program, io);
  addCompletion(program, io);
  return program;
}

/** Also help and version, which commander raises as errors without a fault (exit code 0). */
function usageError({ code, message, exitCode }: CommanderError, io: Io): number {
  if (exitCode === 0) return 0;
  // `cones` alone has printed the help.
  if (code !== 'commander.help') {
    printNote(io, 'error', 'CONES_OPTION_INVALID', `${brief(message).replace(/^error: /, '').replace(/[.?]?$/, '')}. See --help.`);
  }
  return EXIT_CODES['CONES_OPTION_INVALID']!;
}

function stackOf(error: unknown): string {
  const { stack, cause } = Object(error) as { stack?: unknown; cause?: unknown };
  const own = typeof stack === 'string' ? stack : show(error);
  return cause === undefined ? own : `${own}\nCaused by: ${stackOf(cause)}`;
}
