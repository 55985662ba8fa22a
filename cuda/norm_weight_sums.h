// The last step of gradients of norm weights.
#pragma once

#include "library.h"

namespace cones::cuda {

/// first[c] = scale · Σ pairs[:, c, 0] and second[c] = scale · Σ pairs[:, c, 1] for pairs [rows, channels, 2], summed in fp64
/// in an order that depends on `rows` only. Null: not wanted.
int norm_weight_sums(Stream* stream, const float* pairs, std::int64_t rows, std::int64_t channels, float scale, float* first,
                float* second);

}  // namespace cones::cuda
