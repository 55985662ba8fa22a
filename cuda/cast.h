// Numbers of one type as another.
#pragma once

#include "library.h"

namespace cones::cuda {

/// y = factor·x, `count` elements, any type to any; the product is fp32. With factor = 1 values only change their type.
/// y may be x where the types are one.
struct CastArgs {
  Type from;
  Type to;
  std::int64_t count;
  float factor;
  const void* x;
  void* y;
};
int cast(Stream* stream, const CastArgs& args);

}  // namespace cones::cuda
