// What is known of pictures that are painted in part, put back after a sampler's step: in fp64 for each element, in the CPU's order of
// operations.
#pragma once

#include "library.h"

namespace cones::cuda {

/// y = mask·x + (1 − mask)·(image_share·image + noise_share·noise). y may be x.
struct KeepKnownArgs {
  std::int64_t count, channels;         // values in all; of a position
  const float *x, *image, *noise;       // [count]
  const float* mask;                    // [count / channels]
  double image_share, noise_share;
  float* y;                             // [count]
};
int keep_known(Stream* stream, const KeepKnownArgs& args);

}  // namespace cones::cuda
