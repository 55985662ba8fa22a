#!/usr/bin/env node
import os from 'node:os';
import { reason } from '../util/show';
import { printNote } from './io';
import { main } from './main';

/**
 * The first interrupt lets the command end cleanly (a search saves its state); the second ends it at once, as does the first of
 * a command that has not asked for the signal: nobody would hear of it.
 */
function interruptible(): { signal: () => AbortSignal; exitCode: (code: number) => number } {
  const controller = new AbortController();
  let taken = false;
  let received: NodeJS.Signals | undefined;
  const onSignal = (name: NodeJS.Signals) => {
    received ??= name;
    controller.abort();
    // A terminal that is closed says so more than once, through the shell as well as itself: that is no second interrupt.
    if (name !== 'SIGHUP') for (const impatient of ['SIGINT', 'SIGTERM'] as const) process.removeListener(impatient, onSignal);
  };
  const aborted = 128 + os.constants.signals.SIGINT;
  return {
    signal: () => {
      if (!taken) for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, onSignal);
      taken = true;
      return controller.signal;
    },
    exitCode: (code) => (code === aborted && received ? 128 + os.constants.signals[received] : code),
  };
}

let unprinted: Error | undefined;
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // Whoever reads our output may stop early (`cones inspect … | head`).
  if (error.code !== 'EPIPE') unprinted ??= error;
});
// Nobody is left to be told; what the command does is done all the same.
process.stderr.on('error', () => undefined);

async function run(): Promise<number> {
  const { signal, exitCode } = interruptible();
  const { stdout, stderr } = process;
  const io = {
    stdout,
    stderr,
    // Not opened before it is read.
    get stdin() {
      return process.stdin;
    },
    get signal() {
      return signal();
    },
  };
  const code = exitCode(await main(process.argv.slice(2), io));
  // Errors of all that was written are known when this is.
  await new Promise<void>((resolve) => stdout.write('', () => setImmediate(resolve)));
  if (unprinted === undefined || code !== 0) return code;
  printNote(io, 'error', 'CONES_IO', `The results cannot be printed: ${reason(unprinted)}. Give stdout another place; files are written all the same.`);
  return 1;
}

void run().then((code) => {
  process.exitCode = code;
});
