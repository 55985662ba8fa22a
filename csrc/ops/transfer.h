// Values on their way to a device and back. Everything else that touches a tensor's elements is a backend's.
#pragma once

#include <span>
#include <vector>

#include "device/context.h"

namespace cones {

/// A tensor of these values, of the type of activations unless told otherwise. CONES_OPTION_INVALID where their number does not
/// fit the shape. While planning values may be left out.
Tensor upload(const Context& context, std::span<const float> values, const Shape& shape);
Tensor upload(const Context& context, std::span<const float> values, const Shape& shape, DType dtype);
/// The same of values [B, C, h, w]; `shape` is [B, h, w, C].
Tensor upload_channels_last(const Context& context, std::span<const float> values, const Shape& shape, DType dtype);

/// The values of a tensor; none while planning.
std::vector<float> download(const Context& context, const Tensor& tensor);
/// The same of a tensor [B, h, w, C] as [B, C, h, w].
std::vector<float> download_channels_first(const Context& context, const Tensor& tensor);

/// The values as an fp32 tensor in the host's memory that nobody else has: the tensor itself where it is one already.
Tensor to_host(const Context& context, Tensor tensor);

}  // namespace cones
