// Several tensors one after another along the batch.
#pragma once

#include "library.h"

namespace cones::cuda {

/// y [Σ sizes] = the sources in their order. Elements of 2 or 4 bytes. One tensor may be several of the sources.
struct StackRowsArgs {
  int element_bytes;
  int count;               // of sources, ≤ 64
  void* y;
  const void* source[64];
  std::int64_t size[64];   // elements
};
int stack_rows(Stream* stream, const StackRowsArgs& args);

}  // namespace cones::cuda
