// y = a·x + b, elementwise (the UNet's center_input_sample); its backward is itself with b = 0.
#pragma once

#include "library.h"

namespace cones::cuda {

/// `count` elements of `type` (16-bit), computed in fp32. y may be x.
struct AffineArgs {
  Type type;
  std::int64_t count;
  float a;
  float b;
  const void* x;
  void* y;
};
int affine_forward(Stream* stream, const AffineArgs& args);

}  // namespace cones::cuda
