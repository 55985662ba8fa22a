// What trained K-V weights differ by from the model's, for the projections that read θ + delta (kv_project.h).
#pragma once

#include "library.h"

namespace cones::cuda {

/// delta = values − theta, rounded once.
struct TrainedDeltaArgs {
  Type type;
  std::int64_t count;
  const float* values;
  const void* theta;  // [count] of `type`
  void* delta;        // the same
};
int trained_delta(Stream* stream, const TrainedDeltaArgs& args);

}  // namespace cones::cuda
