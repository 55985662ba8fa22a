#include "ops/transfer.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "device/backend.h"

namespace cones {

Tensor upload(const Context& context, std::span<const float> values, const Shape& shape) {
  return upload(context, values, shape, context.backend->activation());
}

Tensor upload(const Context& context, std::span<const float> values, const Shape& shape, DType dtype) {
  if (static_cast<index_t>(values.size()) != shape.size() && !context.planning())
    fail("CONES_OPTION_INVALID", "An array has " + std::to_string(values.size()) + " elements; its shape " +
                                     shape.text() + " needs " + std::to_string(shape.size()) + ".");
  Tensor tensor = context.empty(shape, dtype);
  if (context.planning()) return tensor;
  Device& device = context.memory->device();
  if (dtype == DType::f32) {
    device.upload(tensor.raw(), values.data(), tensor.bytes());
  } else {
    std::vector<std::byte> narrowed(tensor.bytes());
    narrow(values.data(), values.size(), dtype, narrowed.data());
    device.upload(tensor.raw(), narrowed.data(), narrowed.size());
  }
  return tensor;
}

Tensor upload_channels_last(const Context& context, std::span<const float> values, const Shape& shape, DType dtype) {
  if (static_cast<index_t>(values.size()) != shape.size()) return upload(context, values, shape, dtype);
  const index_t batch = shape[0], pixels = shape[1] * shape[2], channels = shape[3];
  std::vector<float> last(values.size());
  for (index_t b = 0; b < batch; ++b)
    for (index_t p = 0; p < pixels; ++p)
      for (index_t c = 0; c < channels; ++c)
        last[static_cast<std::size_t>((b * pixels + p) * channels + c)] =
            values[static_cast<std::size_t>((b * channels + c) * pixels + p)];
  return upload(context, last, shape, dtype);
}

std::vector<float> download(const Context& context, const Tensor& tensor) {
  if (context.planning()) return {};
  std::vector<float> values(static_cast<std::size_t>(tensor.size()));
  Device& device = context.memory->device();
  if (tensor.dtype() == DType::f32) {
    device.download(values.data(), tensor.raw(), tensor.bytes());
  } else {
    std::vector<std::byte> narrow(tensor.bytes());
    device.download(narrow.data(), tensor.raw(), narrow.size());
    widen(tensor.dtype(), narrow.data(), values.size(), values.data());
  }
  return values;
}

std::vector<float> download_channels_first(const Context& context, const Tensor& tensor) {
  const std::vector<float> last = download(context, tensor);
  if (last.empty()) return {};
  const index_t batch = tensor.dim(0), pixels = tensor.dim(1) * tensor.dim(2), channels = tensor.dim(3);
  std::vector<float> first(last.size());
  for (index_t b = 0; b < batch; ++b)
    for (index_t p = 0; p < pixels; ++p)
      for (index_t c = 0; c < channels; ++c)
        first[static_cast<std::size_t>((b * channels + c) * pixels + p)] =
            last[static_cast<std::size_t>((b * pixels + p) * channels + c)];
  return first;
}

Tensor to_host(const Context& context, Tensor tensor) {
  Device& device = context.memory->device();
  if (device.host() && tensor.dtype() == DType::f32 && !tensor.shared()) return tensor;
  if (context.planning()) return context.empty(tensor.shape(), DType::f32);
  if (device.host() && tensor.dtype() == DType::f32) {
    Tensor own = context.empty(tensor.shape(), DType::f32);
    device.copy(own.raw(), tensor.raw(), tensor.bytes());
    return own;
  }
  // Beside the device's memory, which the job's plan is of.
  Tensor own(*Memory::create(SIZE_MAX), tensor.shape());
  const std::vector<float> values = download(context, tensor);
  std::copy(values.begin(), values.end(), own.host());
  return own;
}

}  // namespace cones
