// The blocked loop under gemm and convolution: A given by row pointers, one run of k after the other.
#pragma once

#include <functional>
#include <vector>

#include "cpu/gemm.h"

namespace cones {

/// A [M, segments · depth]. Segment s covers rows [first_k[s], first_k[s] + depth) of B, in ascending order.
struct PointedOperand {
  index_t m = 0;
  index_t depth = 0;
  std::vector<index_t> first_k;
  /// Fills table [segments][end - begin] with where the `depth` floats of rows [begin, end) lie; on thread `lane`, for
  /// one block of rows at a time (kMaxBlockRows at most), so that it may gather rows in a buffer of its own.
  std::function<void(index_t begin, index_t end, int lane, const float** table)> rows;
  index_t stride = 0;  // between rows, where all lie so far apart
};

constexpr index_t kMaxBlockRows = 192;

/// out [M, N] = A · (mask ⊙ B) + epilogue; see gemm().
void multiply_blocks(const Context& context, const PointedOperand& a, const PackedMatrix& b, float* out,
                     index_t out_stride, const Epilogue& epilogue, const PackedMask* mask);

}  // namespace cones
