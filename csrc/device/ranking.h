// The order in which weights are shut, of which rounding decides as little as can be (docs/log/2026-11-28-ties.md).
//
// Higher goes first: the value, which has to be positive; of equal values the second one; of equal ones of these, too, the weight
// that comes first. Displacements under Adam are first rounded to a 1024th of the learning rate: where gradients are large each of its
// steps moves every weight by the learning rate exactly, but for rounding, which would then decide. So the score S does.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <limits>

#include "base/tensor.h"

namespace cones {

/// What one tensor's weights are ranked by.
struct RankedWeights {
  Tensor values;   // fp32
  Tensor seconds;  // fp32, as many; undefined: all alike
  index_t first;   // the place of its first weight among all weights
};

/// Weights whose key is this or above are chosen. On a device: three words of 32 bits, in a tensor of three floats.
using RankKey = std::array<std::uint32_t, 3>;
constexpr RankKey kNoneChosen{~0u, ~0u, ~0u};

/// A value in steps of 1 / per_step, to the nearest; 0: as it is. What is positive stays so.
inline float in_steps(float value, float per_step) {
  if (!(per_step > 0) || !(value > 0)) return value;
  const float steps = value * per_step;
  const float whole = steps < 0x1p22f ? (steps + 0x1.8p23f) - 0x1.8p23f : steps;  // rounded to the nearest integer
  return whole < 0.25f ? 0.25f : whole;
}

/// Positive floats are ordered as their bits are; 0 for all others, which are never chosen.
inline std::uint32_t value_word(float value, float per_step) {
  return value > 0 ? std::bit_cast<std::uint32_t>(in_steps(value, per_step)) : 0;
}
/// Floats of either sign, in their order.
inline std::uint32_t second_word(float second) {
  const auto bits = std::bit_cast<std::uint32_t>(second);
  return bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
}
inline std::uint32_t place_word(index_t place) { return ~static_cast<std::uint32_t>(place); }

/// Whether weight i of a tensor is chosen; `second` only where there is one.
inline bool is_chosen(const RankKey& last, float per_step, float value, const float* second, index_t place) {
  const std::uint32_t word = value_word(value, per_step);
  if (word != last[0] || word == 0) return word > last[0];
  const std::uint32_t next = second != nullptr ? second_word(*second) : 0;
  return next != last[1] ? next > last[1] : place_word(place) >= last[2];
}

}  // namespace cones
