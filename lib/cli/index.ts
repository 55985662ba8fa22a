#!/usr/bin/env node
import os from 'node:os';
import { main } from './main';

/** The first interrupt lets the command end cleanly (a search saves its state); the second ends it at once. */
function interruptible(): { signal: AbortSignal; exitCode: (code: number) => number } {
  const controller = new AbortController();
  let received: NodeJS.Signals | undefined;
  const onSignal = (name: NodeJS.Signals) => {
    received = name;
    controller.abort();
    for (const other of ['SIGINT', 'SIGTERM'] as const) process.removeListener(other, onSignal);
  };
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, onSignal);
  const aborted = 128 + os.constants.signals.SIGINT;
  return {
    signal: controller.signal,
    exitCode: (code) => (code === aborted && received ? 128 + os.constants.signals[received] : code),
  };
}

// Whoever reads our output may stop early (`cones inspect … | head`).
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

const { signal, exitCode } = interruptible();
void main(process.argv.slice(2), { stdout: process.stdout, stderr: process.stderr, signal }).then((code) => {
  process.exitCode = exitCode(code);
});
