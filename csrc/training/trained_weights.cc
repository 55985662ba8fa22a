#include "training/trained_weights.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "device/backend.h"
#include "ops/transfer.h"

namespace cones {
namespace {

Tensor upload_values(const Context& context, const Parameter& parameter) {
  std::vector<float> values(static_cast<std::size_t>(context.planning() ? 0 : parameter.size()));
  if (!values.empty()) parameter.read(0, parameter.size(), values.data());
  return upload(context, values, parameter.shape, DType::f32);
}

template <class Weight>
auto tensors_of(Weight& weight) {
  return std::array{&weight.values, &weight.first_moment, &weight.second_moment};
}

}  // namespace

TrainedWeights::TrainedWeights(const Context& context, std::vector<const Parameter*> parameters) {
  for (const Parameter* parameter : parameters)
    weights_.push_back({parameter, upload_values(context, *parameter), context.zeros(parameter->shape, DType::f32),
                        context.zeros(parameter->shape, DType::f32), Tensor()});
}

std::size_t TrainedWeights::find(const Parameter& parameter) const {
  return static_cast<std::size_t>(std::ranges::find(weights_, &parameter, &Weight::parameter) - weights_.begin());
}

void TrainedWeights::add(const Context&, const Parameter& parameter, const Tensor& gradient) {
  const std::size_t i = find(parameter);
  check(i < size() && !weights_[i].gradient.defined(), "a trained weight is used once a step");
  weights_[i].gradient = gradient.reshape(parameter.shape);
}

void TrainedWeights::update(const Context& context, const AdamStep& step) {
  Context unscaled = context;
  unscaled.gradient_scale = 1;  // gradients of parameters carry none
  for (Weight& weight : weights_)
    if (weight.gradient.defined())  // as PyTorch, which leaves others as they are
      context.backend->adam(unscaled, step, std::exchange(weight.gradient, Tensor()), weight.values, weight.first_moment,
                          weight.second_moment, Tensor());
}

void TrainedWeights::forget_gradients() {
  for (Weight& weight : weights_) weight.gradient = Tensor();
}

std::size_t TrainedWeights::state_size() const {
  std::size_t size = 0;
  for (const Weight& weight : weights_) size += 3 * weight.values.bytes();
  return size;
}

void TrainedWeights::save(const Context& context, std::span<std::byte> state) const {
  std::byte* at = state.data();
  for (const Weight& weight : weights_)
    for (const Tensor* tensor : tensors_of(weight)) {
      context.memory->device().download(at, tensor->raw(), tensor->bytes());
      at += tensor->bytes();
    }
}

bool TrainedWeights::fits(std::span<const std::byte> state) const {
  if (state.size() != state_size()) return false;
  const std::byte* at = state.data();  // at any address
  for (const Weight& weight : weights_)
    for (const Tensor* tensor : tensors_of(weight))
      for (const std::byte* end = at + tensor->bytes(); at < end; at += sizeof(float)) {
        float value;
        std::memcpy(&value, at, sizeof value);
        if (!std::isfinite(value) || (tensor == &weight.second_moment && value < 0)) return false;
      }
  return true;
}

void TrainedWeights::load(const Context& context, std::span<const std::byte> state) {
  const std::byte* at = state.data();
  for (Weight& weight : weights_)
    for (Tensor* tensor : tensors_of(weight)) {
      context.memory->device().upload(tensor->raw(), at, tensor->bytes());
      at += tensor->bytes();
    }
}

}  // namespace cones
