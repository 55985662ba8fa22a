// Group normalisation (Wu & He, 2018) as torch.nn.GroupNorm, with an optional SiLU behind it in the same pass.
#pragma once

#include "library.h"

namespace cones::cuda {

/// Bytes of scratch for either direction.
std::size_t group_norm_scratch(std::int64_t batch, std::int64_t rows, std::int64_t channels, std::int64_t groups);

/// y [batch, rows, channels] of x: normalised over each sample's rows and each group of channels / groups neighbouring
/// channels, times weight, plus bias; then SiLU where wanted. x and y of `type` (16-bit). A group whose sums overflow gives
/// NaN. y may be x.
struct GroupNormForwardArgs {
  Type type;
  std::int64_t batch;
  std::int64_t rows;        // H·W
  std::int64_t channels;
  std::int64_t groups;      // divides channels
  float eps;
  int silu;                 // 1: y = silu(normalised)
  const void* x;
  const float* weight;      // [channels]
  const float* bias;        // [channels]
  void* y;
  float* statistics;        // [batch, groups, 2]: mean and 1/√(variance + eps), which backward needs; null: not wanted
  void* scratch;            // group_norm_scratch bytes, aligned to 16
};
int group_norm_forward(Stream* stream, const GroupNormForwardArgs& args);

/// Gradients for dy, shaped like x; null means not wanted. dx may be dy.
struct GroupNormBackwardArgs {
  Type type;
  std::int64_t batch;
  std::int64_t rows;
  std::int64_t channels;
  std::int64_t groups;
  int silu;
  float scale;              // of dweight and dbias: what takes the loss scale out again
  const void* dy;
  const void* x;
  const float* weight;
  const float* bias;
  const float* statistics;  // of the forward
  void* dx;
  float* dweight;           // [channels]
  float* dbias;             // [channels]
  void* scratch;            // group_norm_scratch bytes, aligned to 16
};
int group_norm_backward(Stream* stream, const GroupNormBackwardArgs& args);

}  // namespace cones::cuda
