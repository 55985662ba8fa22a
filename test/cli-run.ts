// A command line run in this process, with what it printed.
import { PassThrough } from 'node:stream';
import { main } from '../lib/cli/main';

export interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  /** Is stderr a terminal? Default false. */
  readonly tty?: boolean;
  readonly signal?: AbortSignal;
  readonly stdin?: AsyncIterable<Uint8Array | string>;
  /** Called with everything that is written to stderr. */
  readonly onStderr?: (text: string) => void;
}

export async function runCli(args: readonly string[], { tty = false, signal, stdin, onStderr }: RunOptions = {}): Promise<Run> {
  let stdout = '';
  let stderr = '';
  const stream = Object.assign(new PassThrough(), { isTTY: tty });
  stream.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
    onStderr?.(chunk.toString());
  });
  const code = await main(args, {
    stdout: { write: (text: string) => (stdout += text) },
    stderr: stream,
    stdin,
    signal: signal ?? new AbortController().signal,
  });
  return { code, stdout, stderr };
}
