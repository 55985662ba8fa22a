// The sampler's input scale: fp32 latents as the model's input, once for each half of a guided call.
#pragma once

#include "library.h"

namespace cones::cuda {

/// y [copies, count] = factor·x for x [count] fp32 and y of `type` (any); the product is fp64 and rounded once.
struct ScaleToArgs {
  Type type;
  std::int64_t count;
  int copies;  // one after another: 2 for guided pairs
  double factor;
  const float* x;
  void* y;
};
int scale_to(Stream* stream, const ScaleToArgs& args);

}  // namespace cones::cuda
