// The completion scripts, run by the shells themselves.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createProgram } from '../../lib/cli/main';
import { runCli } from '../cli-run';

const program = createProgram({ stdout: process.stdout, stderr: process.stderr, signal: new AbortController().signal });
const commands = program.commands.map((command) => command.name());

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'cones-completion-'));
  writeFileSync(path.join(folder, 'cat.cones'), '');
  writeFileSync(path.join(folder, "a cat's.png"), '');
  for (const shell of ['bash', 'zsh']) writeFileSync(path.join(folder, `script.${shell}`), (await runCli(['completion', shell])).stdout);
});
afterAll(() => rmSync(folder, { recursive: true }));

/** What bash offers for the last of these words. */
function offered(...words: string[]): string[] {
  const script = `source script.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _cones; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return execFileSync('bash', ['--norc', '-c', script, 'bash', 'cones', ...words], { cwd: folder, encoding: 'utf8' }).split('\n').filter((word) => word !== '');
}

const has = (shell: string): boolean => {
  try {
    execFileSync(shell, ['-c', 'true']);
    return true;
  } catch {
    return false;
  }
};

describe('bash', () => {
  test('commands', () => {
    expect(offered('')).toEqual(expect.arrayContaining([...commands, 'help']));
    expect(offered('ge')).toEqual(['generate']);
  });

  test.each(commands)('all flags of %s, as its help has them', (name) => {
    const flags = program.commands.find((command) => command.name() === name)!.options.map(({ long }) => long);
    expect(offered(name, '--').filter((flag) => flag !== '--help').sort()).toEqual([...flags].sort());
  });

  test('values that are known, and files', () => {
    expect(offered('find', '--progress', '')).toEqual(['bar', 'json', 'none']);
    expect(offered('find', '--progress', 'j')).toEqual(['json']);
    expect(offered('completion', '')).toEqual(['bash', 'zsh']);
    expect(offered('generate', '--concept', 'cat')).toEqual(['cat.cones']);
    expect(offered('inspect', 'cat')).toEqual(['cat.cones']);
    expect(offered('find', '--steps', '--')).toEqual([]);
  });
});

test('zsh: every command and flag is there', async () => {
  const { code, stdout, stderr } = await runCli(['completion', 'zsh']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  for (const command of program.commands) {
    const line = stdout.split('\n').find((own) => own.trim().startsWith(`${command.name()}) _arguments `))!;
    for (const { long } of command.options) expect(line).toContain(`'*${long}[`);
  }
});

(has('zsh') ? test : test.skip)('zsh reads its script, and asks _arguments for the flags of the command', () => {
  execFileSync('zsh', ['-n', 'script.zsh'], { cwd: folder });
  const run = (script: string) => execFileSync('zsh', ['-f', '-c', `autoload -U compinit; compinit -u -D; source ./script.zsh; ${script}`], { cwd: folder, encoding: 'utf8' });
  expect(run('print $_comps[cones]')).toBe('_cones\n');
  const asked = run('_arguments() { print -r -l -- $CURRENT "$words" "$@" }; words=(cones find --progress ""); CURRENT=4; _cones').trimEnd().split('\n');
  expect(asked.slice(0, 2)).toEqual(['3', 'find --progress ']);
  expect(asked).toContainEqual(expect.stringMatching(/^\*--progress\[.*\]:value:\(bar json none\)$/));
  expect(asked.at(-1)).toBe('*:value:_files');
  expect(run('_describe() { print -r -l -- $commands }; words=(cones ""); CURRENT=2; _cones').trimEnd().split('\n').map((line) => line.split(':')[0])).toEqual(commands);
});

test('another shell is refused', async () => {
  expect(await runCli(['completion', 'fish'])).toMatchObject({ code: 2, stderr: expect.stringMatching(/^error CONES_OPTION_INVALID: /) });
});
