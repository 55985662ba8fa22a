// Expected values are the CPU's: device 'auto' must find no card here. Tests of CUDA name the library themselves.
process.env.CONES_CUDA_LIBRARY ??= '/nowhere/cones_cuda.so';

/** @type {import('jest').Config} */
module.exports = {
  testEnvironment: 'node',
  roots: ['<rootDir>/test'],
  testMatch: ['**/test/{unit,integration,runtime,fuzz,types}/**/*.test.ts'],
  // Types are checked by `npm run typecheck`; here ts-jest only transpiles (isolatedModules).
  transform: { '^.+\\.ts$': ['ts-jest', { tsconfig: '<rootDir>/tsconfig.json' }] },
  testTimeout: 60_000,
};
