import { access, constants } from 'node:fs/promises';
import path from 'node:path';
import { ConesError } from '../errors';
import { targetOf } from '../files';
import type { Warning } from '../warning';

/** What a command may touch besides files: given by the caller, so that tests can look on. */
export interface Io {
  readonly stdout: { write(text: string): unknown };
  readonly stderr: NodeJS.WritableStream & { readonly isTTY?: boolean };
  /**
   * Fires when the user interrupts. Who takes it has to end then: until it is taken an interrupt ends the process at once,
   * so take it late, when there is something that could be saved.
   */
  readonly signal: AbortSignal;
}

/** Results go to stdout. */
export function printLines(io: Io, lines: readonly string[]): void {
  io.stdout.write(lines.map((line) => `${visible(line)}\n`).join(''));
}

export function printJson(io: Io, value: unknown): void {
  io.stdout.write(`${JSON.stringify(value, null, 2).replace(CONTROL_IN_JSON, escaped)}\n`);
}

/** Everything else goes to stderr, a line each. */
export function printNote(io: Io, kind: 'error' | 'warning', code: string, message: string): void {
  io.stderr.write(`${visible(`${kind} ${code}: ${message.replace(/\s*\n\s*/g, ' ')}`)}\n`);
}

export function printWarnings(io: Io, warnings: readonly Warning[]): void {
  for (const { code, message } of warnings) printNote(io, 'warning', code, message);
}

// Texts come from files of others (concepts, pictures' metadata): in a terminal, control characters are commands.
// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f]/g;
/** Those that JSON.stringify leaves as they are. */
const CONTROL_IN_JSON = /[\u007f-\u009f]/g;

function visible(line: string): string {
  return line.replace(CONTROL, escaped);
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/**
 * Fails before hours of work rather than after.
 * @returns the file that will be written, links followed
 * @throws ConesError CONES_IO when `file` could not be written
 */
export async function assertWritable(file: string): Promise<string> {
  const target = await targetOf(file);
  const folder = path.dirname(target);
  try {
    await access(folder, constants.W_OK | constants.X_OK);
  } catch (cause) {
    throw new ConesError('CONES_IO', `${file} cannot be written: there is no folder ${folder} that may be written to. Make it first.`, { cause });
  }
  return target;
}
