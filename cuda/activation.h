// Elementwise activations, named as in the configs of diffusers and transformers.
#pragma once

#include "library.h"

namespace cones::cuda {

enum class Activation : int { silu = 0, gelu = 1, quick_gelu = 2, gelu_tanh = 3, relu = 4 };  // gelu is the exact one (erf)

/// y = activation(x), `count` elements of `type` (16-bit). y may be x.
struct ActivationForwardArgs {
  Type type;
  Activation activation;
  std::int64_t count;
  const void* x;
  void* y;
};
int activation_forward(Stream* stream, const ActivationForwardArgs& args);

/// dx = dy · activation'(x). dx may be dy or x.
struct ActivationBackwardArgs {
  Type type;
  Activation activation;
  std::int64_t count;
  const void* dy;
  const void* x;
  void* dx;
};
int activation_backward(Stream* stream, const ActivationBackwardArgs& args);

}  // namespace cones::cuda
