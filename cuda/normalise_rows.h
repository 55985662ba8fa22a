// CLIP's embeddings: rows of length 1.
#pragma once

#include "library.h"

namespace cones::cuda {

/// y [rows, channels] fp32 = x / ‖x‖ per row, for x of `type` (any); fp64 inside. A row of zeros gives NaN.
struct NormaliseRowsArgs {
  Type type;
  std::int64_t rows;
  std::int64_t channels;
  const void* x;
  float* y;
};
int normalise_rows(Stream* stream, const NormaliseRowsArgs& args);

}  // namespace cones::cuda
