// Jobs that are linear in a gradient that they are given.
#pragma once

#include <vector>

#include "device/context.h"

namespace cones::jobs {

/// A power of two that brings the largest value between 1 and 2: the job is linear in the gradient it is given, which may be smaller
/// than 16 bits hold. 1 in fp32.
float upstream_scale(const Context& context, const std::vector<float>& upstream);

std::vector<float> scaled(std::vector<float> values, float factor);

}  // namespace cones::jobs
