// One small fp32 vector kept to a length: a learned identifier's embedding, to that of words.
#pragma once

#include "library.h"

namespace cones::cuda {

/// values · limit / ‖values‖ in place where ‖values‖ > limit, in fp64.
struct LimitNormArgs {
  std::int64_t count;
  float* values;  // [count]
  double limit;
};
int limit_norm(Stream* stream, const LimitNormArgs& args);

}  // namespace cones::cuda
