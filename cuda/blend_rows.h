// The outputs of a picture's regions as one, each weighted where it is: in fp64 for each element, in the order of the rows, so with the
// CPU's bits.
#pragma once

#include "library.h"

namespace cones::cuda {

/// y [pictures, positions, channels] = Σ_r weights[·, r, position] · x[·, r, position, channel]
struct BlendRowsArgs {
  std::int64_t pictures, regions, positions, channels;
  const float* x;        // [pictures, regions, positions, channels]
  const float* weights;  // [pictures, regions, positions]
  float* y;
};
int blend_rows(Stream* stream, const BlendRowsArgs& args);

}  // namespace cones::cuda
