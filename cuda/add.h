// Elementwise sums: residual connections and gradients that meet.
#pragma once

#include "library.h"

namespace cones::cuda {

/// y = a + b, `count` elements of `type` (16-bit). y may be a, b or both.
struct AddArgs {
  Type type;
  std::int64_t count;
  const void* a;
  const void* b;
  void* y;
};
int add_forward(Stream* stream, const AddArgs& args);

}  // namespace cones::cuda
