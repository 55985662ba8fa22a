import type { Warning } from '../warning';

/** @param isa what the addon computes with */
export function machineWarnings(isa: string): Warning[] {
  if (isa !== 'scalar') return [];
  const message = 'This processor has no AVX2, so the engine computes with plain C++, much more slowly: use an x86-64 machine with AVX2 or AVX-512 if you can.';
  return [{ code: 'slow-instruction-set', message }];
}
