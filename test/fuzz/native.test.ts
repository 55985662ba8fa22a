// Every function of the addon with wrong arguments, in a process of its own: it must neither crash nor hang, every refusal
// must have a code, and the model must go on as before. lib/ checks what users give; this is what holds when it does not.
import { spawnSync } from 'node:child_process';
import path from 'node:path';

jest.setTimeout(600_000);

test('wrong arguments of native calls are refused with a code', () => {
  const file = (name: string) => path.join(__dirname, name);
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, ['-r', file('../runtime/register.cjs'), file('native-calls.ts')], {
    encoding: 'utf8', timeout: 540_000, maxBuffer: 2 ** 26,
  });
  const last = stdout.trimEnd().split('\n').at(-1)!;
  // Where it crashed or hung, the last line names the call.
  expect({ status, signal, stderr, last: status === 0 ? '' : last }).toEqual({ status: 0, signal: null, stderr: '', last: '' });
  const { refused, problems } = JSON.parse(last) as { refused: number; problems: string[] };
  expect(problems).toEqual([]);
  expect(refused).toBeGreaterThan(1000);
});
