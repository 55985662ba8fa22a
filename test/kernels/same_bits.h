// Comparison of all bits, for ops that promise the CPU's.
#pragma once

#include <bit>
#include <cstdint>
#include <string>

#include "product_check.h"

namespace check {

inline std::uint32_t bits_of(float v) { return std::bit_cast<std::uint32_t>(v); }
inline std::uint32_t bits_of(dev::half v) { return v.bits; }
inline std::uint32_t bits_of(dev::bf16 v) { return v.bits; }

/// got[i] is want[i] rounded to T, for all of them.
template <class T>
void expect_bits(Guarded<T>& got, const std::vector<float>& want, const std::string& what) {
  for (std::size_t i = 0; i < want.size(); ++i)
    if (bits_of(got[i]) != bits_of(dev::from_float<T>(want[i]))) {
      expect(false, what + "[" + std::to_string(i) + "] is " + std::to_string(dev::to_float(got[i])) + ", not " +
                        std::to_string(want[i]));
      return;
    }
  expect(got.size() == want.size(), what + ": size");
  expect(got.intact(), "wrote outside of " + what);
}

template <class T>
constexpr cones::cuda::Type any_type_of = std::is_same_v<T, float> ? cones::cuda::Type::f32 : type_of<T>;

}  // namespace check
