// The highest values of a ranking that lies in several tensors.
#pragma once

#include <cstdint>
#include <span>

#include "base/context.h"

namespace cones {

/// The value that `count` ≥ 1 values reach or pass: the count-th highest of all `tensors`. Only positive values count; with
/// fewer than `count` of them the lowest one, and 0 without any. By counting, so it is the same on any number of threads.
/// `guess`, such as the last step's, changes nothing but the time: values far below it are passed over.
float highest(const Context& context, std::span<const Tensor> tensors, std::int64_t count, float guess = 0);

}  // namespace cones
