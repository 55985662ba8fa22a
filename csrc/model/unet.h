// UNet2DConditionModel of diffusers, as Stable Diffusion 1.x and 2.x-base configure it.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "io/weights.h"
#include "model/resnet.h"
#include "model/transformer.h"
#include "ops/conv2d.h"
#include "ops/kv_project.h"
#include "ops/tape.h"

namespace cones {

/// Values of unet/config.json, validated and completed by lib/models. Lists have one entry per level, in the order
/// of `down_block_types` (`up_attention`: of `up_block_types`).
struct UNetConfig {
  int in_channels = 4, out_channels = 4;
  std::vector<int> block_out_channels;
  std::vector<bool> down_attention, up_attention;
  bool mid_block = true;
  std::vector<int> layers_per_block;
  std::vector<int> heads;
  std::vector<int> transformer_layers;
  int cross_attention_dim = 768;
  int norm_groups = 32;
  float norm_eps = 1e-5f;
  bool flip_sin_to_cos = true;
  double freq_shift = 0;
  bool center_input = false;
  int time_cond_dim = 0;  // of the embedding of the guidance scale (latent consistency models); 0: there is none
};

struct UNetInput {
  Var latents;                        // [B, h, w, in_channels]
  std::span<const double> timesteps;  // [B]
  std::span<const double> guidance = {};  // [B], where the UNet has time_cond_dim: the guidance scale less 1; empty: not told
  const TextKv& text;
  const KvView& view;
};

class UNet {
 public:
  UNet(const Context& context, Weights& weights, const UNetConfig& config);

  /// Keys and values of the text [B, T, cross_attention_dim] for all cross-attention layers. With `rows` [B], row b has text
  /// rows[b] of [U, T, cross_attention_dim]: a text that rows share is projected once. No masks then.
  TextKv project_text(Tape& tape, const Var& text, const KvView& view, const std::vector<int>& rows = {}) const;
  /// The model output [B, h, w, out_channels], fp32.
  Var forward(Tape& tape, const UNetInput& input) const;

  const UNetConfig& config() const { return config_; }
  const std::vector<const KvWeights*>& kv_tensors() const { return registry_.tensors(); }

 private:
  /// A resnet and, on levels with attention, the transformer behind it.
  struct Layer {
    ResnetBlock resnet;
    std::optional<Transformer2D> transformer;
    std::size_t text_layer = 0;  // of the transformer's first block
  };
  struct Level {
    std::vector<Layer> layers;
    std::optional<ConvWeights> resample;  // downsampler or upsampler convolution
  };

  struct LayerConfig {
    index_t in, out;
    int level;
    bool attention;
  };
  Layer make_layer(const Context& context, Weights& weights, const std::string& prefix, int index,
                   const LayerConfig& layer);
  Var run_layer(Tape& tape, const Layer& layer, const Var& x, const Var& time, const UNetInput& input) const;
  Var time_embedding(Tape& tape, const UNetInput& input) const;

  UNetConfig config_;
  KvRegistry registry_;
  std::size_t text_layers_ = 0;
  LinearWeights time_in_, time_out_;
  std::optional<LinearWeights> guidance_in_;
  ConvWeights conv_in_;
  std::vector<Level> down_;
  std::optional<Layer> mid_first_;  // and with it mid_last_, where there is a mid block
  std::optional<ResnetBlock> mid_last_;
  std::vector<Level> up_;
  NormWeights norm_out_;
  ConvWeights conv_out_;
  std::vector<const TransformerBlock*> cross_layers_;  // in the order of TextKv
};

}  // namespace cones
