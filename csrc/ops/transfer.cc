#include "ops/transfer.h"

#include <algorithm>
#include <string>

#include "base/error.h"

namespace cones {
namespace {

void check_count(std::span<const float> values, const Shape& shape) {
  if (static_cast<index_t>(values.size()) != shape.size())
    fail("CONES_OPTION_INVALID", "An array has " + std::to_string(values.size()) + " elements; its shape " +
                                     shape.text() + " needs " + std::to_string(shape.size()) + ".");
}

}  // namespace

Tensor upload(const Context& context, std::span<const float> values, const Shape& shape) {
  if (!context.planning()) check_count(values, shape);
  Tensor tensor = context.empty(shape);
  if (!context.planning()) std::copy(values.begin(), values.end(), tensor.data());
  return tensor;
}

Tensor upload_channels_last(const Context& context, std::span<const float> values, const Shape& shape) {
  if (!context.planning()) check_count(values, shape);
  Tensor tensor = context.empty(shape);
  if (context.planning()) return tensor;
  const index_t batch = shape[0], pixels = shape[1] * shape[2], channels = shape[3];
  for (index_t b = 0; b < batch; ++b)
    for (index_t p = 0; p < pixels; ++p)
      for (index_t c = 0; c < channels; ++c)
        tensor.data()[(b * pixels + p) * channels + c] =
            values[static_cast<std::size_t>((b * channels + c) * pixels + p)];
  return tensor;
}

std::vector<float> download(const Context& context, const Tensor& tensor) {
  if (context.planning()) return {};
  return std::vector<float>(tensor.data(), tensor.data() + tensor.size());
}

std::vector<float> download_channels_first(const Context& context, const Tensor& tensor) {
  if (context.planning()) return {};
  const index_t batch = tensor.dim(0), pixels = tensor.dim(1) * tensor.dim(2), channels = tensor.dim(3);
  std::vector<float> values(static_cast<std::size_t>(tensor.size()));
  for (index_t b = 0; b < batch; ++b)
    for (index_t p = 0; p < pixels; ++p)
      for (index_t c = 0; c < channels; ++c)
        values[static_cast<std::size_t>((b * channels + c) * pixels + p)] =
            tensor.data()[(b * pixels + p) * channels + c];
  return values;
}

Tensor copy(const Context& context, const Tensor& tensor) {
  Tensor own = context.empty(tensor.shape());
  if (!context.planning()) std::copy_n(tensor.data(), tensor.size(), own.data());
  return own;
}

}  // namespace cones
