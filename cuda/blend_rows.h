// The outputs of a picture's regions as one, each weighted where it is: in fp64 for each element, in the order of the rows, so with the
// CPU's bits.
#pragma once

#include "library.h"
#include "windows.h"

namespace cones::cuda {

/// y = Σ_r weights[·, r] · x[·, r] at every position, over the windows that have it
struct BlendRowsArgs {
  std::int64_t pictures, height, width, channels;
  WindowList windows;
  const float* x;        // [pictures, regions, windows' height, width, channels]
  const float* weights;  // [pictures, regions, height, width]
  float* y;              // [pictures, height, width, channels]
};
int blend_rows(Stream* stream, const BlendRowsArgs& args);

}  // namespace cones::cuda
