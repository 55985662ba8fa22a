// The highest values of a ranking that lies in several tensors.
#pragma once

#include <cstdint>
#include <span>

#include "base/context.h"

namespace cones {

/// The value that `count` ≥ 1 values reach or pass: the count-th highest of all `tensors`. Only positive values count; with
/// fewer than `count` of them the lowest one, and 0 without any. By counting, so it is the same on any number of threads.
float highest(const Context& context, std::span<const Tensor> tensors, std::int64_t count);

}  // namespace cones
