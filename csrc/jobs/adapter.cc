#include "jobs/adapter.h"

#include <utility>

#include "base/error.h"
#include "device/backend.h"
#include "jobs/plan.h"

namespace cones::jobs {
namespace {

std::optional<Parameter> parameter_of(const std::string& name, const std::optional<AdapterTensor>& tensor) {
  if (!tensor) return std::nullopt;
  check(tensor->bytes && tensor->bytes->size() == static_cast<std::size_t>(tensor->shape.size()) * dtype_size(tensor->dtype),
        "an adapter's tensor has as many bytes as its shape says");
  return Parameter{name, tensor->shape, tensor->dtype,
                   [held = tensor->bytes](std::uint64_t offset, std::span<std::byte> out) {
                     read_memory(held->data())(offset, out);
                   }};
}

}  // namespace

std::shared_ptr<const Adapter> prepare_adapter(const Context& context, const Model& model, const AdapterLayers& layers) {
  std::vector<LayerChange> changes;
  for (const AdapterLayer& layer : layers) {
    // Its output is fp32, and what adapters add is of the type of activations.
    if (!layer.of_text && layer.name == "conv_out.weight" && context.backend->activation() != DType::f32)
      fail("CONES_CONFIG_UNSUPPORTED", "The adapter changes the UNet's conv_out, which works in fp32 alone. Load the model with device 'cpu'.");
    const auto [weight, bias] = model.adaptable(layer.of_text, layer.name);
    changes.push_back({.layer = weight,
                       .bias = bias,
                       .scale = layer.scale,
                       .down = parameter_of(layer.name, layer.down),
                       .up = parameter_of(layer.name, layer.up),
                       .new_weight = parameter_of(layer.name, layer.weight),
                       .new_bias = parameter_of(layer.name, layer.bias)});
  }
  return std::make_shared<const Adapter>(context, std::move(changes));
}

std::shared_ptr<const ModelAdapter> make_adapter(const std::shared_ptr<const Model>& model, const AdapterLayers& layers,
                                                 const std::atomic<bool>& aborted) {
  const Plan plan = jobs::plan(prepare_adapter, *model, layers);
  model->require_memory(plan.peak);
  return std::make_shared<const ModelAdapter>(
      ModelAdapter{model, prepare_adapter(model->context(&aborted), *model, layers), plan.held});
}

}  // namespace cones::jobs
