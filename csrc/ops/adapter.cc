#include "ops/adapter.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "base/error.h"

namespace cones {
namespace {

[[noreturn]] void mismatch(const Parameter& layer, const char* what, const Shape& shape) {
  fail("CONES_ADAPTER_MISMATCH", "The adapter's " + std::string(what) + " for " + layer.name + " is " + shape.text() +
                                     ", which does not fit the layer's " + layer.shape.text() +
                                     ". Take an adapter that was made for this model.");
}

index_t kernel_h(const Shape& shape) { return shape.rank() == 4 ? shape[2] : 1; }
index_t kernel_w(const Shape& shape) { return shape.rank() == 4 ? shape[3] : 1; }

/// Whether a matrix or convolution is [n, k], with the same window as `like`, or with none.
bool fits(const Shape& shape, index_t n, index_t k, const Shape* like) {
  return (shape.rank() == 2 || shape.rank() == 4) && shape[0] == n && shape[1] == k &&
         kernel_h(shape) == (like ? kernel_h(*like) : 1) && kernel_w(shape) == (like ? kernel_w(*like) : 1);
}

/// after − before, element by element as it is read. Both must outlive the result, but for `after`, which it holds.
Parameter difference(Parameter after, const Parameter& before) {
  Parameter result{before.name, before.shape, DType::f32, {}};
  result.bytes = [held = std::make_shared<Parameter>(std::move(after)), &before](std::uint64_t offset, std::span<std::byte> out) {
    const auto begin = static_cast<index_t>(offset / sizeof(float));
    const std::size_t count = out.size() / sizeof(float);
    std::vector<float> now(count), then(count);
    held->read(begin, begin + static_cast<index_t>(count), now.data());
    before.read(begin, begin + static_cast<index_t>(count), then.data());
    for (std::size_t i = 0; i < count; ++i) now[i] -= then[i];
    std::memcpy(out.data(), now.data(), out.size());
  };
  return result;
}

}  // namespace

Adapter::Adapter(const Context& context, std::vector<LayerChange> changes) {
  for (LayerChange& change : changes) {
    context.check_aborted();
    const bool is_new = layers_.emplace(change.layer, prepare(context, change)).second;
    if (!is_new) fail("CONES_ADAPTER_INVALID", "The adapter changes " + change.layer->name + " twice. Save it again.");
    change = {};  // its numbers are not needed any more
  }
  for (const auto& parameter : parameters_)
    parameter->bytes = [](std::uint64_t, std::span<std::byte>) { check(false, "nothing has gradients through adapters"); };
}

const Parameter& Adapter::keep(Parameter parameter) {
  return *parameters_.emplace_back(std::make_unique<Parameter>(std::move(parameter)));
}

Adapter::Layer Adapter::prepare(const Context& context, const LayerChange& change) {
  const Parameter& layer = *change.layer;
  const Shape& shape = layer.shape;
  const index_t n = shape[0], k = shape[1];
  Layer made{.scale = static_cast<float>(change.scale), .out = n, .kernel_h = kernel_h(shape), .kernel_w = kernel_w(shape)};
  const bool is_conv = made.kernel_h * made.kernel_w > 1;
  const auto prepared = [&](const Parameter& weight, const Parameter* bias) {
    return is_conv ? context.backend->prepare_conv2d(context, weight, bias) : context.backend->prepare_linear(context, weight, bias);
  };
  if (change.new_weight) {
    if (!fits(change.new_weight->shape, n, k, &shape)) mismatch(layer, "weight", change.new_weight->shape);
    const Parameter* bias = nullptr;
    if (change.new_bias) {
      if (!change.bias || change.new_bias->size() != n) mismatch(layer, "bias", change.new_bias->shape);
      bias = &keep(difference(*change.new_bias, *change.bias));
    }
    made.dense = prepared(keep(difference(*change.new_weight, layer)), bias);
    return made;
  }
  check(change.down && change.up, "an adapter has two matrices of low rank, or a whole one");
  made.rank = change.down->shape[0];
  if (!fits(change.down->shape, made.rank, k, &shape)) mismatch(layer, "first matrix (down, A)", change.down->shape);
  if (!fits(change.up->shape, n, made.rank, nullptr)) mismatch(layer, "second matrix (up, B)", change.up->shape);
  made.down = prepared(keep(*change.down), nullptr);
  made.up = context.backend->prepare_linear(context, keep(*change.up), nullptr);
  return made;
}

Tensor Adapter::change(const Context& context, const Parameter& of, const Tensor& x, const Conv2dOptions* options, float weight) const {
  const auto found = layers_.find(&of);
  if (found == layers_.end()) return {};
  const Layer& layer = found->second;
  const Backend& backend = *context.backend;
  const auto product = [&](const Prepared& matrix, index_t out) {
    if (!options) return backend.linear_forward(context, x, matrix, out, nullptr, backend.activation());
    const Conv2dOptions& o = *options;
    const Shape shape{x.dim(0), (x.dim(1) + o.pad_top + o.pad_bottom - layer.kernel_h) / o.stride + 1,
                      (x.dim(2) + o.pad_left + o.pad_right - layer.kernel_w) / o.stride + 1, out};
    return backend.conv2d_forward(context, x, matrix, o, shape, nullptr, nullptr, backend.activation());
  };
  const auto scaled = [&](Tensor tensor, float factor) { return factor == 1 ? tensor : backend.affine(context, tensor, factor, 0); };
  if (layer.dense) return scaled(product(*layer.dense, layer.out), weight);
  const Tensor low = scaled(product(*layer.down, layer.rank), weight * layer.scale);
  return backend.linear_forward(context, low, *layer.up, layer.out, nullptr, backend.activation());
}

void add_changes(const Context& context, const AdapterRows& rows, const Parameter& layer, const Tensor& x,
                 const Conv2dOptions* options, const Tensor& y) {
  check(static_cast<index_t>(rows.size()) == x.dim(0) && rows.size() == static_cast<std::size_t>(y.dim(0)), "adapters are of batch rows");
  // Neighbours with the same adapters go together.
  for (std::size_t begin = 0, end = 0; begin < rows.size(); begin = end) {
    for (end = begin + 1; end < rows.size() && rows[end] == rows[begin];) ++end;
    const auto first = static_cast<index_t>(begin), last = static_cast<index_t>(end);
    for (const AdapterUse& use : rows[begin]) {
      if (!use.adapter->changes(layer)) continue;
      check(y.dtype() == context.backend->activation(), "adapters change layers whose outputs are activations");
      const Tensor change = use.adapter->change(context, layer, x.slice(first, last), options, use.weight);
      const Tensor part = y.slice(first, last);
      context.backend->add(context, part, change, part);
    }
  }
}

}  // namespace cones
