// Linear layers as torch.nn.Linear, and the gradient of their input.
#pragma once

#include "library.h"

namespace cones::cuda {

/// y [M, N] = x [M, K] Wᵀ + bias + residual, rounded once.
struct LinearForwardArgs {
  Type type;  // of x, weight, residual: f16 or bf16
  std::int64_t M, N, K;
  const void* x;         // [M, K]
  const void* weight;    // W [N, K]
  const float* bias;     // [N], or null
  const void* residual;  // [M, N], or null; may be y
  void* y;               // [M, N]
  Type y_type;           // `type`, or f32
};
int linear_forward(Stream* stream, const LinearForwardArgs& args);

/// dx [M, K] = dy [M, N] W + onto, rounded once.
struct LinearBackwardInputArgs {
  Type type;  // of all
  std::int64_t M, N, K;
  const void* dy;      // [M, N]
  const void* weight;  // W [N, K], as in the forward pass
  const void* onto;    // [M, K], what the input's gradient is so far, or null; may be dx
  void* dx;            // [M, K]
};
int linear_backward_input(Stream* stream, const LinearBackwardInputArgs& args);

}  // namespace cones::cuda
