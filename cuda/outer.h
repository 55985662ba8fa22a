// Gradients of weights and biases from those of what a layer gave.
#pragma once

#include "library.h"

namespace cones::cuda {

/// dw [N, K] = scale · dyᵀ x, fp32: the gradient of W in y = x Wᵀ.
struct OuterArgs {
  Type type;  // of dy and x: f16 or bf16
  std::int64_t M, N, K;
  const void* dy;  // [M, N]
  const void* x;   // [M, K]
  float scale;     // takes out the loss scale
  float* dw;       // [N, K]
  void* scratch;   // outer_scratch() bytes, aligned to 16; null where that is 0
  int* arrived;    // kOuterCounters zeros on the device, which are zeros again afterwards: one array serves all calls of a stream
};
constexpr std::int64_t kOuterCounters = 128;
std::int64_t outer_scratch(std::int64_t M, std::int64_t N, std::int64_t K);
int outer(Stream* stream, const OuterArgs& args);

/// sums [groups, N] = scale · Σ of the rows_per_group rows of x [groups · rows_per_group, N] that belong to a group: the gradient
/// of a bias (one group), or of what a resnet adds to all pixels of a picture (a group per picture).
struct ColumnSumsArgs {
  Type type;  // of x: f16 or bf16
  std::int64_t groups, rows_per_group, N;
  const void* x;  // [groups, rows_per_group, N]
  float scale;
  void* sums;      // [groups, N]
  Type sums_type;  // `type` or f32
  float* scratch;  // column_sums_scratch() bytes
};
std::int64_t column_sums_scratch(std::int64_t groups, std::int64_t rows_per_group, std::int64_t N);
int column_sums(Stream* stream, const ColumnSumsArgs& args);

}  // namespace cones::cuda
