// AutoencoderTiny of diffusers (TAESD): a small network that does what Stable Diffusion's autoencoder does, for previews and drafts.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "io/weights.h"
#include "model/config.h"
#include "ops/conv2d.h"
#include "ops/linear.h"
#include "ops/tape.h"

namespace cones {

/// AutoencoderTinyBlock: three convolutions beside the input, ReLU between them and after the sum.
class TinyBlock {
 public:
  TinyBlock(const Context& context, Weights& weights, const std::string& prefix, index_t in, index_t out);

  /// x [B, h, w, in] → [B, h, w, out]
  Var forward(Tape& tape, const Var& x) const;

 private:
  std::vector<ConvWeights> convolutions_;
  std::optional<LinearWeights> skip_;
};

class TinyAutoencoder {
 public:
  /// `encoder_blocks` and `decoder_blocks` of the config: as many as its levels.
  TinyAutoencoder(const Context& context, Weights& weights, const VaeConfig& config);

  /// pixels [B, H, W, 3] in [-1, 1] → latents [B, h, w, C] fp32
  Var encode(Tape& tape, const Var& pixels) const;
  /// latents [B, h, w, C], through limit(), → pixels [B, f·h, f·w, 3] fp32, about [0, 1], for pixel()
  Var decode(Tape& tape, const Var& latents) const;

  // The decoder's ends, of single values on the host:
  static float limit(float latent);
  static float pixel(float value) { return 2 * value - 1; }

 private:
  /// Blocks, and the convolution before (of the encoder) or behind them (of the decoder).
  struct Level {
    std::vector<TinyBlock> blocks;
    ConvWeights convolution;
  };
  std::vector<Level> down_, up_;
  ConvWeights latents_out_, latents_in_;
};

}  // namespace cones
