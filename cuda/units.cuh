// Moving bytes unchanged: in units of 16 where sizes and addresses allow, else of 4 or 2.
#pragma once

#include "launch.h"

namespace cones::cuda {

template <int n>
struct Unit {
  static constexpr int bytes = n;
};

/// f(Unit<16>()), f(Unit<4>()) or f(Unit<2>()): the largest that divides all of `bits`, sizes and addresses or-ed together.
template <class F>
int with_unit(std::uintptr_t bits, const F& f) {
  if (bits % 16 == 0) return f(Unit<16>());
  if (bits % 4 == 0) return f(Unit<4>());
  return bits % 2 == 0 ? f(Unit<2>()) : kInvalid;
}

inline std::uintptr_t bits_of_address(const void* p) { return reinterpret_cast<std::uintptr_t>(p); }
inline std::uintptr_t bits_of_size(std::int64_t size) { return static_cast<std::uintptr_t>(size); }

template <int kBytes>
DEVICE void copy_unit(void* to, const void* from) {
  if constexpr (kBytes == 16) {
    dev::store_words(to, dev::load_words(from));
  } else if constexpr (kBytes == 4) {
    *static_cast<std::uint32_t*>(to) = *static_cast<const std::uint32_t*>(from);
  } else {
    *static_cast<std::uint16_t*>(to) = *static_cast<const std::uint16_t*>(from);
  }
}

/// The address of unit `index` of an array.
template <int kBytes>
DEVICE const char* unit_at(const void* array, std::int64_t index) { return static_cast<const char*>(array) + index * kBytes; }
template <int kBytes>
DEVICE char* unit_at(void* array, std::int64_t index) { return static_cast<char*>(array) + index * kBytes; }

}  // namespace cones::cuda
