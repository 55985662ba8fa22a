// npm run check:sanitizers [-- ctest arguments]: the C++ suites under ASan and UBSan, in a tree of their own. Minutes of all cores.
import os from 'node:os';
import path from 'node:path';
import { root, run, script } from './run.mjs';
import { requireToolchain } from './toolchain.mjs';

const tree = path.join(root, '.cache', 'sanitizers');

await script(async () => {
  requireToolchain();
  // The emulated card switches stacks, which ASan takes for damage; the kernels' own tests have guards around their memory instead.
  const without = ['-DCONES_CUDA=OFF', '-DCONES_EMULATED=OFF'];
  const flags = '-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer';
  await run('cmake', ['-S', root, '-B', tree, '-DCONES_TESTS=ON', '-DCMAKE_BUILD_TYPE=None', ...without, `-DCMAKE_CXX_FLAGS=${flags}`]);
  await run('cmake', ['--build', tree, '--parallel', String(os.availableParallelism())]);
  const env = { ...process.env, UBSAN_OPTIONS: 'print_stacktrace=1' };
  await run('ctest', ['--test-dir', tree, '--output-on-failure', '--no-tests=error', ...process.argv.slice(2)], { env });
});
