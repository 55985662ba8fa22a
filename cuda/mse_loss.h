// The denoising loss and its gradient, as csrc/ops/mse_loss.cc: a weighted mean-squared error with one weight a row. Nothing
// comes back to the host: what depends on the loss reads `finite` on the device.
#pragma once

#include "library.h"

namespace cones::cuda {

struct MseLossArgs {
  std::int64_t batch, size;  // rows; values of each
  const void* output;        // [batch, size] of output_type (any)
  Type output_type;
  const float* target;       // [batch, size]
  const double* weights;     // [batch], in host memory, read before this returns
  double* means;             // [batch]: mean of (output − target)²
  double* loss;              // [1]: Σ weight·mean
  int* finite;               // [1]: 1 where the loss is finite, else 0
  void* gradient;            // [batch, size] of gradient_type (any): loss_scale·weight·2·(output − target)/size; null: not wanted
  Type gradient_type;
  double loss_scale;         // a power of two
  void* scratch;             // mse_loss_scratch(batch, size) bytes, aligned to 8
};

/// Values of a row that one block sums, and rows of one launch.
constexpr std::int64_t kMseChunk = 4096, kMseRows = 64;

constexpr std::int64_t mse_loss_scratch(std::int64_t batch, std::int64_t size) {
  return (batch < kMseRows ? batch : kMseRows) * ((size + kMseChunk - 1) / kMseChunk) * 8;
}

int mse_loss(Stream* stream, const MseLossArgs& args);

}  // namespace cones::cuda
