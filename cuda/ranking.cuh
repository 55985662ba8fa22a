// csrc/device/ranking.h on the card, word for word.
#pragma once

#include "values.cuh"

namespace cones::cuda {

DEVICE float in_steps(float value, float per_step) {
  if (!(per_step > 0) || !(value > 0)) return value;
  const float steps = dev::multiply(value, per_step);
  const float whole = steps < 0x1p22f ? dev::subtract(dev::add(steps, 0x1.8p23f), 0x1.8p23f) : steps;
  return whole < 0.25f ? 0.25f : whole;
}

DEVICE std::uint32_t value_word(float value, float per_step) { return value > 0 ? dev::bits_of(in_steps(value, per_step)) : 0; }
DEVICE std::uint32_t second_word(float second) {
  const std::uint32_t bits = dev::bits_of(second);
  return bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
}
DEVICE std::uint32_t place_word(std::int64_t place) { return ~static_cast<std::uint32_t>(place); }

DEVICE bool is_chosen(const std::uint32_t* last, float per_step, float value, float second, std::int64_t place) {
  const std::uint32_t word = value_word(value, per_step);
  if (word != last[0] || word == 0) return word > last[0];
  const std::uint32_t next = second_word(second);
  return next != last[1] ? next > last[1] : place_word(place) >= last[2];
}

}  // namespace cones::cuda
