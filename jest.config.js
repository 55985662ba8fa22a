// Expected values are the CPU's: device 'auto' must find no card here. Tests of CUDA name the library themselves.
process.env.CONES_CUDA_LIBRARY ??= '/nowhere/cones_cuda.so';

/** @type {import('jest').Config} */
module.exports = {
  // Never in jest's own process, which does not end after so many suites, and afresh where one has grown.
  maxWorkers: Math.max(2, require('node:os').availableParallelism() - 1),
  workerIdleMemoryLimit: '1GB',
  testEnvironment: 'node',
  roots: ['<rootDir>/test'],
  testMatch: ['**/test/{unit,integration,runtime,fuzz,types}/**/*.test.ts'],
  // Types are checked by `npm run typecheck`; here ts-jest only transpiles (isolatedModules).
  transform: { '^.+\\.ts$': ['ts-jest', { tsconfig: '<rootDir>/tsconfig.json' }] },
  testTimeout: 60_000,
};
