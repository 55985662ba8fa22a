// The gated unit of the transformer blocks' feed-forward (Shazeer, 2020), as diffusers' GEGLU after its projection.
#pragma once

#include "library.h"

namespace cones::cuda {

/// y [rows, channels] = x[:, :channels] · gelu(x[:, channels:]) for x [rows, 2·channels]; gelu is the exact one (erf).
/// All of `type` (16-bit).
struct GegluForwardArgs {
  Type type;
  std::int64_t rows;
  std::int64_t channels;
  const void* x;
  void* y;
};
int geglu_forward(Stream* stream, const GegluForwardArgs& args);

/// dx [rows, 2·channels] of dy [rows, channels]. dx may be x.
struct GegluBackwardArgs {
  Type type;
  std::int64_t rows;
  std::int64_t channels;
  const void* dy;
  const void* x;
  void* dx;
};
int geglu_backward(Stream* stream, const GegluBackwardArgs& args);

}  // namespace cones::cuda
