/** IEEE 754 binary16 as bit patterns. Node 20 has no Float16Array. */

/** The nearest half, ties to even; beyond the largest half, infinity. */
export function float16Bits(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (Number.isNaN(value)) return 0x7e00;
  if (magnitude >= 65520) return sign | 0x7c00; // half-way between the largest half, 65504, and 65536
  // Halves below 2⁻¹⁴ are multiples of 2⁻²⁴ with exponent 0; above, 11 significant bits.
  const exponent = Math.max(Math.floor(Math.log2(magnitude)), -14);
  const units = roundHalfEven(magnitude * 2 ** (10 - exponent));
  // `units` ≥ 1024 carries the implicit bit, which adds one to the exponent field; rounding up to 2048 adds another.
  return sign | (((exponent + 14) << 10) + units);
}

export function fromFloat16Bits(bits: number): number {
  const exponent = (bits >>> 10) & 31;
  const mantissa = bits & 1023;
  const magnitude =
    exponent === 31 ? (mantissa ? NaN : Infinity) : exponent === 0 ? mantissa * 2 ** -24 : (1024 + mantissa) * 2 ** (exponent - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}
