// Builds what is stale, then runs the C++ suite (ctest) and the TypeScript suite (jest), both even
// when the first fails, and ends with their summary lines and one total.
//   node scripts/test.mjs                  both
//   node scripts/test.mjs cpp [ctest arguments]
//   node scripts/test.mjs ts [jest arguments]
import { createRequire } from 'node:module';
import { cmakeDir } from './build-native.mjs';
import { ensure } from './ensure.mjs';
import { run, script } from './run.mjs';

/** Runs a suite and reads passed and failed tests from the summary that it prints. */
async function suite(command, args, summaryOf) {
  const { code, output } = await run(command, args, { capture: true, check: false });
  // eslint-disable-next-line no-control-regex -- the colours of a terminal
  const summary = summaryOf(output.replace(/\x1b\[[0-9;]*m/g, ''));
  if (!summary) throw new Error(`${command} printed no summary (exit code ${code}).`);
  return { code, ...summary };
}

const runCpp = (args) =>
  suite('ctest', ['--test-dir', cmakeDir, '--output-on-failure', '--no-tests=error', ...args], (output) => {
    const match = /^\d+% tests passed, (\d+) tests failed out of (\d+)$/m.exec(output);
    return match && { lines: [match[0]], passed: match[2] - match[1], failed: Number(match[1]) };
  });

const runTs = (args) =>
  suite(process.execPath, [createRequire(import.meta.url).resolve('jest/bin/jest'), ...args], (output) => {
    const lines = output.match(/^(Test Suites|Tests|Snapshots|Time): .*$/gm) ?? [];
    const tests = lines.find((line) => line.startsWith('Tests:'));
    const count = (word) => Number(new RegExp(`(\\d+) ${word}`).exec(tests)?.[1] ?? 0);
    return tests && { lines, passed: count('passed'), failed: count('failed') };
  });

await script(async () => {
  const [which, ...args] = process.argv.slice(2);
  if (![undefined, 'cpp', 'ts'].includes(which)) throw new Error(`Unknown suite "${which}"; use cpp or ts.`);
  await ensure({ tests: which !== 'ts' });

  const results = [];
  if (which !== 'ts') results.push(await runCpp(args));
  if (which !== 'cpp') results.push(await runTs(args));

  const total = (key) => results.reduce((sum, result) => sum + result[key], 0);
  console.log(`\n${results.flatMap(({ lines }) => lines).join('\n')}`);
  console.log(`${total('passed')} passed, ${total('failed')} failed`);
  // A suite can fail without a failed test, for example when a test file does not compile.
  if (results.some(({ code }) => code !== 0)) process.exitCode = 1;
});
