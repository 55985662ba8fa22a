// A tile's sums, moved from the fragments of a product to shared memory: from there neighbouring threads take neighbouring
// channels, in whole words of 16 bytes, and the code that finishes a sum stands in a loop instead of once per fragment.
#pragma once

#include "product.cuh"

namespace cones::cuda {

template <class Shape>
struct SumTile {
  static constexpr int kPitch = Shape::kN + 8;  // no two of the four rows that half a warp writes share banks
  static constexpr int kBytes = Shape::kM * kPitch * 4;
  const float* sums;  // [kM][kPitch]

  DEVICE const float* at(int m, int n) const { return sums + m * kPitch + n; }
};

/// After multiply(), in its memory; all of the block's threads are here.
template <class Shape>
DEVICE SumTile<Shape> sum_tile(char* memory, const Sums<Shape>& sums) {
  struct alignas(8) Two {
    float low, high;
  };
  dev::sync();  // nobody reads operands any more
  float* const to = reinterpret_cast<float*>(memory);
  sums.each_pair([&](int m, int n, float low, float high) {
    *reinterpret_cast<Two*>(to + m * SumTile<Shape>::kPitch + n) = {low, high};
  });
  dev::sync();
  return {to};
}

}  // namespace cones::cuda
