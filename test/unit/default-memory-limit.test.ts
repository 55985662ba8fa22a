import os from 'node:os';
import { defaultMemoryLimit } from '../../lib/util/default-memory-limit';

test.each<[string, number | undefined, number]>([
  ['the machine, in no container', undefined, os.totalmem()],
  ['the machine, where the container has no limit', 0, os.totalmem()],
  ['the machine, where that is said with a huge number', 2 ** 64, os.totalmem()],
  ['the container', 2 ** 20, 2 ** 20],
])('is 90 %% of the memory of %s', (_, constrained, memory) => {
  // Node 20 says 0, newer ones undefined.
  const mock = jest.spyOn(process, 'constrainedMemory').mockReturnValue(constrained!);
  try {
    expect(defaultMemoryLimit()).toBe(Math.floor(0.9 * memory));
  } finally {
    mock.mockRestore();
  }
});
