// What every job on noisy latents takes: latents [B, C, h, w], text states [B, T, D], a mask per row.
#pragma once

#include <string>
#include <vector>

#include "addon/arguments.h"
#include "addon/mask.h"
#include "base/error.h"
#include "model/model.h"

namespace cones::addon {

struct LatentArguments {
  Shape shape;  // [B, h, w, C]
  std::vector<float> latents, embeddings;
  index_t tokens;
  MaskRows masks;

  LatentArguments(const Napi::Object& options, const Model& model);

  Tensor latent_tensor(const Context& context) const { return to_channels_last(context, latents, shape); }
  Tensor text_tensor(const Context& context, const Model& model) const {
    return to_tensor(context, embeddings, text_shape(model));
  }
  Shape text_shape(const Model& model) const { return {shape[0], tokens, model.unet().config().cross_attention_dim}; }
  /// CONES_OPTION_INVALID unless an array has one element per batch row.
  void check_rows(std::size_t count, const char* name) const;
};

/// The longest text in tokens that a call may have.
constexpr index_t kMaxTokens = 1 << 16;

/// Batch, height and width of an options object with a number of channels: [B, h, w, C].
Shape latent_shape(const Napi::Object& options, index_t channels);

}  // namespace cones::addon
