#include "model/clip_vision.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "model/layers.h"
#include "ops/layer_norm.h"

namespace cones {
namespace {

const VisionConfig& checked(const VisionConfig& config) {
  if (config.patch_size < 1 || config.image_size < config.patch_size)
    fail("CONES_CONFIG_INVALID", "patch_size " + std::to_string(config.patch_size) + " does not fit image_size " +
                                     std::to_string(config.image_size) + ". Check the vision_config.");
  return config;
}

Parameter as_matrix(const Parameter* convolution) {
  Parameter matrix = *convolution;
  matrix.shape = {convolution->shape[0], convolution->size() / convolution->shape[0]};
  return matrix;
}

ClipEncoderConfig encoder_config(const VisionConfig& config) {
  return {.hidden_size = config.hidden_size,
          .intermediate_size = config.intermediate_size,
          .layers = config.layers,
          .heads = config.heads,
          .causal = false,
          .activation = config.activation,
          .layer_norm_eps = config.layer_norm_eps};
}

}  // namespace

ClipVision::ClipVision(const Context& context, Weights& weights, const VisionConfig& config)
    : config_(checked(config)),
      patch_matrix_(as_matrix(
          weights.find("vision_model.embeddings.patch_embedding.weight",
                       {config.hidden_size, config.channels, config.patch_size, config.patch_size}))),
      patches_(context, &patch_matrix_, nullptr),
      class_token_(weights.find("vision_model.embeddings.class_embedding", {config.hidden_size})),
      positions_(weights.find("vision_model.embeddings.position_embedding.weight",
                              {1 + grid() * grid(), config.hidden_size})),
      norm_in_(find_norm(context, weights, "vision_model.pre_layrnorm", config.hidden_size)),  // sic
      norm_out_(find_norm(context, weights, "vision_model.post_layernorm", config.hidden_size)),
      encoder_(context, weights, "vision_model.encoder", encoder_config(config)) {}

// [B, grid², channels · P²]: per patch the values in the order of the convolution's weight, channel by channel. What
// does not fill a patch at the right and the bottom is left out, as by a convolution of stride P.
Tensor ClipVision::cut_patches(const Context& context, const Tensor& pixels) const {
  const index_t batch = pixels.dim(0), side = config_.image_size, channels = config_.channels, patch = config_.patch_size;
  const index_t count = grid();
  Tensor out = context.empty({batch, count * count, channels * patch * patch});
  if (context.planning()) return out;
  float* to = out.data();
  for (index_t b = 0; b < batch; ++b)
    for (index_t tile = 0; tile < count * count; ++tile)
      for (index_t c = 0; c < channels; ++c)
        for (index_t y = 0; y < patch; ++y) {
          const index_t row = tile / count * patch + y, column = tile % count * patch;
          const float* from = pixels.data() + ((b * side + row) * side + column) * channels + c;
          for (index_t x = 0; x < patch; ++x) *to++ = from[x * channels];
        }
  return out;
}

// [B, 1 + grid², D]: the class token and the patches, each plus its position.
Tensor ClipVision::embed(const Context& context, const Tensor& pixels) const {
  const Tensor patches = linear_forward(context, cut_patches(context, pixels), patches_);
  const index_t batch = pixels.dim(0), tokens = 1 + grid() * grid(), width = config_.hidden_size;
  Tensor out = context.empty({batch, tokens, width});
  if (context.planning()) return out;
  Tensor class_token = context.empty({width}), positions = context.empty({tokens, width});
  class_token_->read(0, width, class_token.data());
  positions_->read(0, tokens * width, positions.data());
  for (index_t b = 0; b < batch; ++b)
    for (index_t t = 0; t < tokens; ++t) {
      const float* token = t == 0 ? class_token.data() : patches.data() + (b * (tokens - 1) + t - 1) * width;
      std::transform(token, token + width, positions.data() + t * width, out.data() + (b * tokens + t) * width,
                     [](float value, float position) { return value + position; });
    }
  return out;
}

Tensor ClipVision::pool(const Context& context, const Tensor& pixels) const {
  const index_t side = config_.image_size;
  if (pixels.shape() != (Shape{pixels.dim(0), side, side, config_.channels}))
    fail("CONES_OPTION_INVALID", "CLIP's picture tower needs pictures of " + std::to_string(side) + " × " +
                                     std::to_string(side) + " pixels, but got a batch of " + pixels.shape().text() +
                                     ". Resize them first.");
  Tape tape(context);
  Var h = layer_norm(tape, Var(embed(context, pixels)), norm_in_, config_.layer_norm_eps);
  h = encoder_.forward(tape, h);
  Tensor class_tokens = context.empty({pixels.dim(0), config_.hidden_size});
  if (!context.planning()) {
    const index_t width = config_.hidden_size, stride = h.shape()[1] * width;
    for (index_t b = 0; b < pixels.dim(0); ++b)
      std::copy_n(h.value().data() + b * stride, width, class_tokens.data() + b * width);
  }
  return layer_norm_forward(context, class_tokens, norm_out_, config_.layer_norm_eps);
}

}  // namespace cones
