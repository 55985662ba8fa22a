#include "jobs/upstream.h"

#include <algorithm>
#include <cmath>

#include "device/backend.h"

namespace cones::jobs {

float upstream_scale(const Context& context, const std::vector<float>& upstream) {
  if (context.backend->activation() == DType::f32) return 1;
  float largest = 0;
  for (const float value : upstream) largest = std::max(largest, std::abs(value));
  // The scale and its inverse are normal numbers, whatever the gradient.
  return largest > 0 && std::isfinite(largest) ? std::ldexp(1.0f, -std::clamp(std::ilogb(largest), -100, 100)) : 1;
}

std::vector<float> scaled(std::vector<float> values, float factor) {
  if (factor != 1)
    for (float& value : values) value *= factor;
  return values;
}

}  // namespace cones::jobs
