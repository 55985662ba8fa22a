// ResnetBlock2D of diffusers: the convolutional block of the UNet and of the VAE.
#pragma once

#include <optional>
#include <string>

#include "io/weights.h"
#include "ops/conv2d.h"
#include "ops/linear.h"
#include "ops/norm_weights.h"
#include "ops/tape.h"

namespace cones {

struct ResnetConfig {
  index_t in_channels = 0, out_channels = 0;
  index_t time_channels = 0;  // 0: no time embedding (VAE)
  int groups = 32;
  float eps = 1e-6f;
};

class ResnetBlock {
 public:
  /// Weights `<prefix>.norm1`, `.conv1`, `.time_emb_proj`, `.norm2`, `.conv2`, and `.conv_shortcut` where the number of
  /// channels changes.
  ResnetBlock(const Context& context, Weights& weights, const std::string& prefix, const ResnetConfig& config);

  /// x [B, H, W, in] → [B, H, W, out]; time_silu [B, time_channels]: SiLU of the time embedding, null without one.
  Var forward(Tape& tape, const Var& x, const Var* time_silu) const;

 private:
  int groups_;
  float eps_;
  NormWeights norm1_, norm2_;
  ConvWeights conv1_, conv2_;
  std::optional<LinearWeights> time_;
  std::optional<LinearWeights> shortcut_;  // a 1×1 convolution is a linear layer in channels-last
};

}  // namespace cones
