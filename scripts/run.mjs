// Shared by the scripts here: run a program in the repository root, or stop.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

/**
 * Runs `command` with the terminal's own output and resolves with `{ code, output }`.
 * `capture` keeps a copy of stdout and stderr in `output`; `check` (default) throws when the program fails.
 */
export async function run(command, args, { env = process.env, cwd = root, capture = false, check = true } = {}) {
  const child = spawn(command, args, { cwd, env, stdio: ['ignore', ...Array(2).fill(capture ? 'pipe' : 'inherit')] });
  let output = '';
  for (const name of capture ? ['stdout', 'stderr'] : []) {
    child[name].setEncoding('utf8').on('data', (text) => {
      output += text;
      process[name].write(text);
    });
  }
  const code = await new Promise((resolve, reject) => child.on('error', reject).on('close', resolve));
  if (check && code !== 0) throw new Error(`${command} ${args.join(' ')} failed (exit code ${code}).`);
  return { code, output };
}

/** Runs `main`; an error is printed as one line, without a stack, and makes the exit code 1. */
export async function script(main) {
  try {
    await main();
  } catch (error) {
    console.error(`\n${error.message}`);
    process.exitCode = 1;
  }
}
