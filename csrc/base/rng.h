// Counter-based random numbers: Philox 4×32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011).
//
// A stream is named by its seed; its i-th value is a function of (seed, i) alone, so any part of a stream can be made
// anywhere, in any order. Normals are built from 32-bit integers and IEEE fp32 operations only (conversion, multiplication,
// fused multiply-add, square root), each correctly rounded, and never from a maths library: CPU and CUDA give equal bits.
#pragma once

#include <array>
#include <cstdint>

#include "base/tensor.h"

namespace cones {

/// The ten-round bijection: four random words for a counter and a key.
std::array<std::uint32_t, 4> philox4x32_10(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

/// Values [offset, offset + count) of the uniform stream `seed`: word i % 4 of counter (i / 4, 0) under key `seed`, both
/// with the low 32 bits first.
void philox_uint32(std::uint64_t seed, std::uint64_t offset, std::uint32_t* out, index_t count);

/// Values [offset, offset + count) of the standard normal stream `seed`. Box–Muller on the words (w0, w1) and (w2, w3) of
/// each counter: u = (w0 + ½)·2⁻³² in fp32, angle = 2π·w1·2⁻³², values √(−2 ln u)·(cos angle, sin angle). Largest: 6.77.
void philox_normal(std::uint64_t seed, std::uint64_t offset, float* out, index_t count);

}  // namespace cones
