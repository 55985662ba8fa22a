// Adapters: what the files of LoRA and its kind add to layers, for the batch rows that have them.
//
// y_b += w · Δ(x_b), where Δ is of low rank, s · (x Aᵀ) Bᵀ with A [r, K] and B [N, r] (of a convolution: A is one like the layer's, with
// r outputs, and B goes from pixel to pixel), or dense, x (W' − W)ᵀ + (b' − b). The base weights are never written, and rows without
// adapters are computed as if there were none. A concept's mask is of the base weights: what adapters add is not masked.
#pragma once

#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/parameter.h"
#include "device/backend.h"

namespace cones {

/// What an adapter's file has for one layer. Shapes are as in PyTorch; of a 1×1 convolution also without the 1 × 1.
struct LayerChange {
  const Parameter* layer = nullptr;  // the base model's weight [N, K] or [N, K, kh, kw]
  const Parameter* bias = nullptr;   // and bias, where `new_bias` is given
  double scale = 1;                  // s of a low rank
  std::optional<Parameter> down, up;             // A [r, K] or [r, K, kh, kw], B [N, r] or [N, r, 1, 1]
  std::optional<Parameter> new_weight, new_bias;  // W' and b', in place of A and B
};

class Adapter {
 public:
  /// CONES_ADAPTER_MISMATCH where a tensor does not fit its layer.
  Adapter(const Context& context, std::vector<LayerChange> changes);

  /// Δ(x) times `weight` for x [rows, …, K] → [rows, …, N]; `options`: of a convolution. Undefined where this layer is not changed.
  Tensor change(const Context& context, const Parameter& layer, const Tensor& x, const Conv2dOptions* options, float weight) const;
  bool changes(const Parameter& layer) const { return layers_.contains(&layer); }

 private:
  struct Layer {
    PreparedRef down, up;     // of a low rank
    index_t rank = 0;
    float scale = 1;
    PreparedRef dense;        // else
    index_t out = 0, kernel_h = 1, kernel_w = 1;
  };
  Layer prepare(const Context& context, const LayerChange& change);
  /// The weights that the backend has read; there are no gradients of them, so that their numbers are not kept.
  const Parameter& keep(Parameter parameter);

  std::unordered_map<const Parameter*, Layer> layers_;
  std::vector<std::unique_ptr<Parameter>> parameters_;
};

/// One of a row's adapters.
struct AdapterUse {
  std::shared_ptr<const Adapter> adapter;
  float weight = 1;
  bool operator==(const AdapterUse&) const = default;
};
/// Of every batch row; empty: no row has any.
using AdapterRows = std::vector<std::vector<AdapterUse>>;

/// y += what the adapters of each row add for x; both have the batch rows first. `options`: of a convolution.
void add_changes(const Context& context, const AdapterRows& rows, const Parameter& layer, const Tensor& x,
                 const Conv2dOptions* options, const Tensor& y);

}  // namespace cones
