// Layer normalisation (Ba et al., 2016) over the last dimension, as torch.nn.LayerNorm.
#pragma once

#include "library.h"

namespace cones::cuda {

/// y [rows, channels] = (x − mean) / √(variance + eps) · weight + bias, per row; x and y of `type` (16-bit).
/// A row whose sums overflow gives NaN. y may be x.
struct LayerNormForwardArgs {
  Type type;
  std::int64_t rows;
  std::int64_t channels;
  float eps;
  const void* x;
  const float* weight;  // [channels]
  const float* bias;    // [channels]
  void* y;
  float* statistics;    // [rows, 2]: mean and 1/√(variance + eps), which backward needs; null: not wanted
};
int layer_norm_forward(Stream* stream, const LayerNormForwardArgs& args);

/// Gradients for dy [rows, channels] of `type`; null means not wanted. dx may be dy where dweight and dbias are null.
struct LayerNormBackwardArgs {
  Type type;
  std::int64_t rows;
  std::int64_t channels;
  float scale;              // of dweight and dbias: what takes the loss scale out again
  const void* dy;
  const void* x;
  const float* weight;
  const float* statistics;  // of the forward
  void* dx;
  float* dweight;           // [channels]
  float* dbias;             // [channels]
  void* scratch;            // layer_norm_backward_scratch bytes; null where neither dweight nor dbias is wanted
};
int layer_norm_backward(Stream* stream, const LayerNormBackwardArgs& args);
std::size_t layer_norm_backward_scratch(std::int64_t rows, std::int64_t channels);

}  // namespace cones::cuda
