// AutoencoderKL of diffusers, and AsymmetricAutoencoderKL without its mask: pictures to latents and back. Vae: either, or the tiny one.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "io/weights.h"
#include "model/config.h"
#include "model/resnet.h"
#include "model/tiny_autoencoder.h"
#include "ops/conv2d.h"
#include "ops/linear.h"
#include "ops/tape.h"

namespace cones {

/// UNetMidBlock2D: a resnet, self-attention with one head, a resnet.
class VaeMidBlock {
 public:
  VaeMidBlock(const Context& context, Weights& weights, const std::string& prefix, const VaeConfig& config, index_t channels);

  /// x [B, h, w, C] → [B, h, w, C]
  Var forward(Tape& tape, const Var& x) const;

 private:
  struct Attention {
    NormWeights norm;
    LinearWeights query, key, value, output;
  };
  static Attention find_attention(const Context& context, Weights& weights, const std::string& name, index_t channels);
  Var attend(Tape& tape, const Var& x) const;

  int groups_;
  ResnetBlock first_, last_;
  std::optional<Attention> attention_;
};

/// Resnets and, on all levels but the last, a convolution behind them that follows or makes the change of size.
struct VaeLevel {
  std::vector<ResnetBlock> resnets;
  std::optional<ConvWeights> resample;
};

class VaeEncoder {
 public:
  VaeEncoder(const Context& context, Weights& weights, const VaeConfig& config);
  Var forward(Tape& tape, const Var& pixels) const;

 private:
  int groups_;
  ConvWeights conv_in_;
  std::vector<VaeLevel> levels_;
  VaeMidBlock mid_;
  NormWeights norm_out_;
  ConvWeights conv_out_;
  std::optional<LinearWeights> quant_;
};

class VaeDecoder {
 public:
  VaeDecoder(const Context& context, Weights& weights, const VaeConfig& config);
  Var forward(Tape& tape, const Var& latents) const;

 private:
  int groups_;
  std::optional<LinearWeights> post_quant_;
  ConvWeights conv_in_;
  VaeMidBlock mid_;
  std::vector<VaeLevel> levels_;
  NormWeights norm_out_;
  ConvWeights conv_out_;
};

class Vae {
 public:
  /// Weights by diffusers' names; the mid blocks' attention also by its old ones (query, key, value, proj_attn), which
  /// Stable Diffusion 1.x's files have.
  Vae(const Context& context, Weights& weights, const VaeConfig& config);

  /// pixels [B, H, W, 3] in [-1, 1] → moments [B, h, w, 2C] fp32, mean then log-variance, with h = ⌊H / f⌋, w = ⌊W / f⌋ and
  /// f = downscale(). The log-variance is not clamped yet: whoever samples clamps it to [-30, 20], as diffusers does.
  /// Of a deterministic() one the latents themselves [B, h, w, C] fp32.
  /// CONES_OPTION_INVALID for pictures with a side below f.
  Var encode(Tape& tape, const Var& pixels) const;
  /// It has no posterior (AutoencoderTiny).
  bool deterministic() const { return std::holds_alternative<TinyAutoencoder>(coder_); }
  /// latents [B, h, w, C], already divided by the scaling factor, → pixels [B, f·h, f·w, 3] fp32, about [-1, 1], not clamped. A
  /// deterministic() one wants its first and last step from the caller: TinyAutoencoder::limit and pixel.
  /// The activations are large, some 0.7 GB at 512 × 512: jobs/pictures.h says how many pictures go together.
  Var decode(Tape& tape, const Var& latents) const;

  /// f: a side of the picture per side of the latents.
  index_t downscale() const { return index_t{1} << (config_.block_out_channels.size() - 1); }
  const VaeConfig& config() const { return config_; }

 private:
  const Var& checked(const Var& pixels) const;

  VaeConfig config_;
  struct Kl {
    VaeEncoder encoder;
    VaeDecoder decoder;
  };
  std::variant<Kl, TinyAutoencoder> coder_;
};

}  // namespace cones
