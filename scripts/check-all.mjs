// npm run check:all: what takes minutes and so is in no `npm test`. All checks run, even when one fails.
import { run, script } from './run.mjs';

/** Name, command, arguments, environment. */
const CHECKS = [
  // With CONES_TEST_ALL the C++ tests leave nothing out.
  ['C++ tests, the long ones too', process.execPath, ['scripts/test.mjs', 'cpp'], { CONES_TEST_ALL: '1' }],
  // Half an hour.
  ['bugs planted in the CUDA kernels', process.execPath, ['scripts/mutate-kernels.mjs'], {}],
];

await script(async () => {
  const failed = [];
  for (const [name, command, args, env] of CHECKS) {
    console.log(`\n== ${name}`);
    const { code } = await run(command, args, { env: { ...process.env, ...env }, check: false });
    if (code !== 0) failed.push(name);
  }
  console.log(failed.length === 0 ? '\nAll checks passed.' : `\nFailed: ${failed.join('; ')}`);
  if (failed.length > 0) process.exitCode = 1;
});
