// Matrices as operands of a product (product.cuh), and what becomes of its sums.
#pragma once

#include "product.cuh"

namespace cones::cuda {

/// A [rows, depth] with `pitch` values between rows: A(m, k) = values[m · pitch + k]. The same for B(n, k) = W [N, K].
template <class T>
struct RowMajor {
  using Value = T;
  static constexpr bool kAcross = false, kMasked = false;
  const T* values;
  std::int64_t rows;
  int depth;
  std::int64_t pitch;

  struct Row {
    const T* start;
  };
  using Column = int;
  DEVICE Row row(std::int64_t m) const { return {m < rows ? values + m * pitch : nullptr}; }
  DEVICE Column column(int k) const { return k; }
  DEVICE const T* at(const Row& r, Column k) const { return r.start != nullptr && k < depth ? r.start + k : nullptr; }
};

/// A [depth, rows] with `pitch` values between values of k: A(m, k) = values[k · pitch + m]. The same for B(n, k) = W [K, N].
template <class T>
struct ColumnMajor {
  using Value = T;
  static constexpr bool kAcross = true, kMasked = false;
  const T* values;
  std::int64_t rows;
  int depth;
  std::int64_t pitch;

  struct Row {
    const T* start;
  };
  using Column = int;
  DEVICE Row row(std::int64_t m) const { return {m < rows ? values + m : nullptr}; }
  DEVICE Column column(int k) const { return k; }
  DEVICE const T* at(const Row& r, Column k) const { return r.start != nullptr && k < depth ? r.start + k * pitch : nullptr; }
};

/// Whether eight values at any multiple of 8 of a row are aligned to 16 bytes, and rows end at multiples of 8.
inline bool aligned(const void* values, std::int64_t pitch, std::int64_t width) {
  return reinterpret_cast<std::uintptr_t>(values) % 16 == 0 && pitch % 8 == 0 && width % 8 == 0;
}

/// What is added to a sum, and where it goes: y [M, N] = sums + bias [N] + group_bias [M / rows_per_group, N] + residual [M, N],
/// rounded once. Null: nothing is added.
template <class T>
struct Output {
  void* y;  // of T, or of fp32
  bool y_is_float;
  std::int64_t rows, columns;
  const float* bias;
  const float* group_bias;  // e.g. a resnet's time embedding, per picture
  std::int64_t rows_per_group;
  const T* residual;  // may be y itself

  DEVICE float value(std::int64_t m, std::int64_t n, float sum) const {
    if (bias != nullptr) sum += bias[n];
    if (group_bias != nullptr) sum += group_bias[m / rows_per_group * columns + n];
    if (residual != nullptr) sum += dev::to_float(residual[m * columns + n]);
    return sum;
  }
  /// Stores (m, n) and (m, n + 1), n even, where they exist.
  DEVICE void operator()(std::int64_t m, std::int64_t n, float low, float high) const {
    if (m >= rows || n >= columns) return;
    const std::int64_t at = m * columns + n;
    if (columns % 2 != 0) {  // pairs are not aligned
      store(at, value(m, n, low));
      if (n + 1 < columns) store(at + 1, value(m, n + 1, high));
      return;
    }
    if (bias != nullptr) low += bias[n], high += bias[n + 1];
    if (group_bias != nullptr) {
      const float* const b = group_bias + m / rows_per_group * columns + n;
      low += b[0], high += b[1];
    }
    if (residual != nullptr) {
      const dev::Pair r = dev::unpack<T>(*reinterpret_cast<const std::uint32_t*>(residual + at));
      low += r.low, high += r.high;
    }
    if (y_is_float) {
      *reinterpret_cast<Two*>(static_cast<float*>(y) + at) = {low, high};
    } else {
      *reinterpret_cast<std::uint32_t*>(static_cast<T*>(y) + at) = dev::pack<T>(low, high);
    }
  }

 private:
  struct alignas(8) Two {
    float low, high;
  };
  DEVICE void store(std::int64_t at, float v) const {
    if (y_is_float) {
      static_cast<float*>(y)[at] = v;
    } else {
      static_cast<T*>(y)[at] = dev::from_float<T>(v);
    }
  }
};

}  // namespace cones::cuda
