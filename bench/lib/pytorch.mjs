// PyTorch's side: bench/python/baseline.py as a child process that answers one request at a time.
import { spawn } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { root } from '../../scripts/run.mjs';

export class PyTorch {
  #child;
  #answers;

  constructor(python) {
    this.#child = spawn(python, [path.join(root, 'bench', 'python', 'baseline.py'), '--serve'], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child.on('error', () => {}); // the missing answer is reported below
    this.#child.stdin.on('error', () => {});
    this.#answers = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** @returns the baseline's answer: ms and cpuMs per call, memoryFormat, versions */
  async measure(request) {
    this.#child.stdin.write(`${JSON.stringify(request)}\n`);
    const { value, done } = await this.#answers.next();
    if (done) throw new Error('The PyTorch process ended; what it printed above says why.');
    const answer = JSON.parse(value);
    if (answer.error) throw new Error(`PyTorch: ${answer.error}`);
    return answer;
  }

  close() {
    this.#child.stdin.end();
  }
}
