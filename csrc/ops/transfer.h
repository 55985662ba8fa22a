// Floats of the host into tensors and back: the only way in and out for the numbers of a job.
//
// While planning, what goes in only takes its memory, whatever the span holds, and nothing comes out.
#pragma once

#include <span>
#include <vector>

#include "base/context.h"

namespace cones {

/// As they are. CONES_OPTION_INVALID when there are more or fewer than the shape needs.
Tensor upload(const Context& context, std::span<const float> values, const Shape& shape);
/// values [B, C, h, w] → `shape` [B, h, w, C]
Tensor upload_channels_last(const Context& context, std::span<const float> values, const Shape& shape);

std::vector<float> download(const Context& context, const Tensor& tensor);
/// tensor [B, h, w, C] → [B, C, h, w]
std::vector<float> download_channels_first(const Context& context, const Tensor& tensor);

/// A tensor of its own with the same values.
Tensor copy(const Context& context, const Tensor& tensor);

}  // namespace cones
