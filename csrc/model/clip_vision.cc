#include "model/clip_vision.h"

#include <algorithm>
#include <functional>
#include <string>

#include "base/error.h"
#include "model/layers.h"
#include "ops/add.h"
#include "ops/choose_rows.h"
#include "ops/layer_norm.h"
#include "ops/transfer.h"

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
std::vector<float> ClipVision::cut_patches(std::span<const float> pixels, index_t batch) const {
  const index_t side = config_.image_size, channels = config_.channels, patch = config_.patch_size, count = grid();
  std::vector<float> out(static_cast<std::size_t>(batch * count * count * channels * patch * patch));
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
Tensor ClipVision::embed(const Context& context, std::span<const float> pixels, index_t batch) const {
  const index_t tokens = 1 + grid() * grid(), width = config_.hidden_size;
  const index_t patch_size = config_.channels * config_.patch_size * config_.patch_size;
  const std::vector<float> cut = context.planning() ? std::vector<float>() : cut_patches(pixels, batch);
  const Tensor patches = linear_forward(context, upload(context, cut, {batch, tokens - 1, patch_size}), patches_);

  std::vector<float> class_token(static_cast<std::size_t>(width)), positions(static_cast<std::size_t>(tokens * width));
  if (!context.planning()) {
    class_token_->read(0, width, class_token.data());
    positions_->read(0, tokens * width, positions.data());
  }
  std::transform(class_token.begin(), class_token.end(), positions.begin(), class_token.begin(), std::plus<>());
  const Tensor first = upload(context, class_token, {1, 1, width});
  const Tensor others = upload(context, std::span(positions).subspan(static_cast<std::size_t>(width)), {1, tokens - 1, width});
  std::vector<Tensor> rows;
  for (index_t b = 0; b < batch; ++b) {
    rows.push_back(first.reshape({1, width}));
    rows.push_back(add_forward(context, patches.slice(b, b + 1), others).reshape({tokens - 1, width}));
  }
  return context.backend->stack_rows(context, rows).reshape({batch, tokens, width});
}

Tensor ClipVision::pool(const Context& context, std::span<const float> pixels, index_t batch) const {
  const index_t side = config_.image_size;
  if (!context.planning() && static_cast<index_t>(pixels.size()) != batch * side * side * config_.channels)
    fail("CONES_OPTION_INVALID", "CLIP's picture tower needs pictures of " + std::to_string(side) + " × " +
                                     std::to_string(side) + " pixels, but got " + std::to_string(pixels.size()) +
                                     " values for " + std::to_string(batch) + " pictures. Resize them first.");
  Tape tape(context);
  Var h = layer_norm(tape, Var(embed(context, pixels, batch)), norm_in_, config_.layer_norm_eps);
  h = encoder_.forward(tape, h);
  const index_t tokens = h.shape()[1], width = config_.hidden_size;
  std::vector<int> class_rows;  // of [B · T, 1, D]
  for (index_t b = 0; b < batch; ++b) class_rows.push_back(static_cast<int>(b * tokens));
  const Tensor class_tokens = choose_rows_forward(context, h.value().reshape({batch * tokens, 1, width}), class_rows);
  return layer_norm_forward(context, class_tokens.reshape({batch, width}), norm_out_, config_.layer_norm_eps);
}

}  // namespace cones
