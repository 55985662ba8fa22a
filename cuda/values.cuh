// Neighbouring values, eight at a time where sizes and addresses are multiples of 16 bytes, and one at a time elsewhere.
#pragma once

#include "launch.h"

namespace cones::cuda {

constexpr int kSweepThreads = 256;

/// How many values a thread takes at once, as a type.
template <int n>
struct Width {
  static constexpr int value = n;
};

/// Whether all of them are multiples of 16; null is.
template <class... Pointers>
bool aligned16(const Pointers*... pointers) {
  return ((reinterpret_cast<std::uintptr_t>(pointers) | ...) & 15) == 0;
}

/// f(Width<8>()) or f(Width<1>()).
template <class F>
int with_width(bool wide, const F& f) {
  return wide ? f(Width<8>()) : f(Width<1>());
}

/// f with the type that `type` names, fp32 included.
template <class F>
int with_any_type(Type type, const F& f) {
  return type == Type::f32 ? f(float()) : with_type(type, f);
}

/// kWidth values as fp32; eight must lie at a multiple of 16 bytes.
template <int kWidth, class T>
DEVICE void load_values(const T* from, float (&v)[kWidth]) {
  if constexpr (kWidth == 1) {
    v[0] = dev::to_float(*from);
  } else if constexpr (sizeof(T) == 4) {
    UNROLL for (int i = 0; i < kWidth; i += 4) {
      const dev::Words words = dev::load_words(from + i);
      UNROLL for (int j = 0; j < 4; ++j) v[i + j] = dev::float_of(words.w[j]);
    }
  } else {
    static_assert(kWidth == 8);
    const dev::Words words = dev::load_words(from);
    UNROLL for (int i = 0; i < 4; ++i) {
      const dev::Pair pair = dev::unpack<T>(words.w[i]);
      v[2 * i] = pair.low;
      v[2 * i + 1] = pair.high;
    }
  }
}

template <int kWidth, class T>
DEVICE void store_values(T* to, const float (&v)[kWidth]) {
  if constexpr (kWidth == 1) {
    *to = dev::from_float<T>(v[0]);
  } else if constexpr (sizeof(T) == 4) {
    UNROLL for (int i = 0; i < kWidth; i += 4) {
      dev::Words words;
      UNROLL for (int j = 0; j < 4; ++j) words.w[j] = dev::bits_of(v[i + j]);
      dev::store_words(to + i, words);
    }
  } else {
    static_assert(kWidth == 8);
    dev::Words words;
    UNROLL for (int i = 0; i < 4; ++i) words.w[i] = dev::pack<T>(v[2 * i], v[2 * i + 1]);
    dev::store_words(to, words);
  }
}

/// The grid for a sweep over `count` values. 2048 blocks fill any card; beyond, threads take several pieces.
inline Grid sweep_grid(std::int64_t count, int width) {
  const std::int64_t blocks = divide_up(count, std::int64_t{kSweepThreads} * width);
  return {blocks < 2048 ? blocks : 2048};
}

/// One thread per piece of a row along x, and the rows along y; beyond 4096, threads take several.
inline Grid row_grid(std::int64_t row_pieces, std::int64_t rows) {
  return {divide_up(row_pieces, kSweepThreads), rows < 4096 ? rows : 4096};
}

/// f.operator()<n>(i) for all of [0, count), by the whole grid: n = kWidth values at i, then what is left one by one.
template <int kWidth, class F>
DEVICE void sweep(std::int64_t count, const F& f) {
  const std::int64_t first = std::int64_t{dev::block_x()} * dev::threads() + dev::thread();
  const std::int64_t step = std::int64_t{dev::grid_x()} * dev::threads(), pieces = count / kWidth;
  for (std::int64_t i = first; i < pieces; i += step) f.template operator()<kWidth>(i * kWidth);
  if constexpr (kWidth > 1) {
    const std::int64_t i = pieces * kWidth + first;
    if (i < count) f.template operator()<1>(i);
  }
}

/// Sum over the block in a fixed order, the same in all threads. `scratch`: shared memory, one double per warp.
DEVICE double block_sum(double v, double* scratch) {
  const double sum = dev::warp_sum(v);
  dev::sync();  // the last sum has been read
  if (dev::thread() % 32 == 0) scratch[dev::thread() / 32] = sum;
  dev::sync();
  double total = 0;
  for (int w = 0; w < dev::threads() / 32; ++w) total += scratch[w];
  return total;
}

}  // namespace cones::cuda
