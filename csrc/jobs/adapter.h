// Adapters as jobs take them: made once from a file's tensors, then given per batch row.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/model.h"
#include "ops/adapter.h"

namespace cones::jobs {

/// Numbers as they lie in a file, whose bytes are read while the adapter is made.
struct AdapterTensor {
  Shape shape;
  DType dtype = DType::f32;
  std::shared_ptr<const std::vector<std::byte>> bytes;
};

/// What is changed of one layer (ops/adapter.h): `down` and `up`, or `weight` and perhaps `bias`.
struct AdapterLayer {
  bool of_text = false;  // of the text encoder, else of the UNet
  std::string name;      // the base model's weight: "mid_block.attentions.0.transformer_blocks.0.attn1.to_k.weight"
  double scale = 1;
  std::optional<AdapterTensor> down, up, weight, bias;
};

/// An adapter serves only the model that made it, and does not keep that model's weights in memory.
struct ModelAdapter {
  std::weak_ptr<const Model> model;
  std::shared_ptr<const Adapter> adapter;
  std::size_t bytes = 0;  // of the device's memory
};

using AdapterLayers = std::vector<AdapterLayer>;
std::shared_ptr<const Adapter> prepare_adapter(const Context& context, const Model& model, const AdapterLayers& layers);

/// CONES_ADAPTER_MISMATCH for a layer that the model does not have, or of another shape; CONES_OUT_OF_MEMORY.
std::shared_ptr<const ModelAdapter> make_adapter(const std::shared_ptr<const Model>& model, const AdapterLayers& layers,
                                                 const std::atomic<bool>& aborted);

}  // namespace cones::jobs
