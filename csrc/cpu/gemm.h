// Matrix multiplication with one operand packed in advance, and the outer product of weight gradients.
//
// Results are bit-identical whatever the number of threads, the number of rows (the batch) or the cut into tiles: k is cut
// by its own length alone, and within each cut an element is one chain over k in ascending order. Instruction sets differ.
#pragma once

#include <functional>

#include "cpu/packed_matrix.h"

namespace cones {

/// What is added to A · B, each null for nothing: first bias + group bias, then the residual.
struct Epilogue {
  const float* bias = nullptr;        // [N]
  const float* residual = nullptr;    // [M, N] with the output's stride; must not overlap the output
  const float* group_bias = nullptr;  // [⌈M / rows_per_group⌉, N]: one more bias for each run of rows
  index_t rows_per_group = 0;
};

/// out [M, N] = a [M, K] · (mask ⊙ B [K, N]) + epilogue. Strides are in floats between rows.
void gemm(const Context& context, const float* a, index_t a_stride, index_t m, const PackedMatrix& b, float* out,
          index_t out_stride, const Epilogue& epilogue = {}, const PackedMask* mask = nullptr);

/// Receives columns [column, column + columns) of rows [row, row + rows) of pᵀ q, finished; called on the computing
/// thread `lane`, concurrently for different tiles, exactly once per element.
using TileConsumer = std::function<void(index_t row, index_t rows, index_t column, index_t columns, const float* tile,
                                        index_t stride, int lane)>;

/// The weight gradient pᵀ q [N, K] for p [M, N] and q [M, K], not stored. While planning, `consume` is not called.
void gemm_outer_tiles(const Context& context, const Tensor& p, const Tensor& q, const TileConsumer& consume);

}  // namespace cones
