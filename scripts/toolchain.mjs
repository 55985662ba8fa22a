// Checks for the system packages that building the addon needs, so that a fresh machine gets one
// sentence with the fix instead of a compiler's or CMake's complaint. No dependencies.
import { spawnSync } from 'node:child_process';

/** First `major.minor` in the output of `command --version`, as a number pair, or undefined when it cannot run. */
function version(command) {
  const { status, stdout } = spawnSync(command, ['--version'], { encoding: 'utf8' });
  const match = status === 0 ? /(\d+)\.(\d+)/.exec(stdout) : null;
  return match ? [Number(match[1]), Number(match[2])] : undefined;
}

const atLeast = (found, [major, minor]) =>
  found !== undefined && (found[0] > major || (found[0] === major && found[1] >= minor));

function hasCompiler() {
  // CXX may hold flags or a launcher ("ccache g++"); CMake then reports what is wrong with it.
  if (process.env.CXX) return true;
  return atLeast(version('g++'), [11, 0]) || atLeast(version('clang++'), [14, 0]);
}

/** Throws an error that names every missing package and the command that installs them. */
export function requireToolchain({ python = false } = {}) {
  const missing = [];
  if (!atLeast(version('cmake'), [3, 21])) missing.push({ what: 'CMake 3.21 or newer', apt: 'cmake' });
  if (!hasCompiler()) missing.push({ what: 'a C++20 compiler (g++ 11, clang++ 14 or newer)', apt: 'g++' });
  if (!version('make') && !version('ninja')) missing.push({ what: 'make or ninja', apt: 'make' });
  if (python && !version('python3')) missing.push({ what: 'Python 3 (for node-gyp)', apt: 'python3' });
  if (missing.length === 0) return;

  const fix = process.platform === 'darwin'
    ? 'xcode-select --install; brew install cmake python'
    : `sudo apt-get install -y ${missing.map(({ apt }) => apt).join(' ')}`;
  throw new Error(`This machine lacks ${missing.map(({ what }) => what).join(', ')}. Install with:\n  ${fix}`);
}
