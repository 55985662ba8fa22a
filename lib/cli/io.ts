import { access, constants } from 'node:fs/promises';
import path from 'node:path';
import { ConesError } from '../errors';
import { targetOf } from '../util/files';
import { brief, oneLine, visible } from '../util/show';
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
  /** Lines of prompts. Default: none. */
  readonly stdin?: AsyncIterable<Uint8Array | string> | undefined;
  /** What --progress says. 'json': all that goes to stderr is a JSON object a line. */
  readonly progress?: 'bar' | 'json' | 'none' | undefined;
}

/** Results go to stdout. */
export function printLines(io: Io, lines: readonly string[]): void {
  io.stdout.write(lines.map((line) => `${visible(line)}\n`).join(''));
}

export function printJson(io: Io, value: unknown): void {
  // Line by line: the line ends are JSON.stringify's own, those in texts it escapes.
  io.stdout.write(`${JSON.stringify(value, null, 2).split('\n').map(visible).join('\n')}\n`);
}

/** One of many results. */
export function printJsonLine(io: Io, value: unknown): void {
  io.stdout.write(`${visible(JSON.stringify(value))}\n`);
}

/** A line of JSON on stderr, for programs that run this one. */
export function printEvent(io: Io, event: 'progress' | 'license' | 'warning' | 'error', values: object): void {
  io.stderr.write(`${visible(JSON.stringify({ event, ...values }))}\n`);
}

/** Everything else goes to stderr, a line each. */
export function printNote(io: Io, kind: 'error' | 'warning', code: string, message: string): void {
  if (io.progress === 'json') return printEvent(io, kind, { code, message });
  io.stderr.write(`${visible(`${kind} ${code}: ${oneLine(message)}`)}\n`);
}

export function printWarnings(io: Io, warnings: readonly Warning[]): void {
  for (const { code, message } of warnings) printNote(io, 'warning', code, message);
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
    throw new ConesError('CONES_IO', `${brief(file)} cannot be written: there is no folder ${brief(folder)} that may be written to. Make it first.`, { cause });
  }
  return target;
}
