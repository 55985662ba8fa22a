// Values of the CLIP and VAE config files, validated and completed by the TypeScript side. (UNet: model/unet.h.)
#pragma once

#include <vector>

#include "ops/activation.h"

namespace cones {

/// text_encoder/config.json of CLIPTextModel, or `text_config` of CLIPModel.
struct TextConfig {
  int vocab_size = 49408;
  int hidden_size = 768;
  int intermediate_size = 3072;
  int layers = 12;
  int heads = 12;
  int max_positions = 77;
  Activation activation = Activation::quick_gelu;
  float layer_norm_eps = 1e-5f;
};

/// `vision_config` of CLIPModel.
struct VisionConfig {
  int channels = 3;
  int image_size = 224;
  int patch_size = 32;
  int hidden_size = 768;
  int intermediate_size = 3072;
  int layers = 12;
  int heads = 12;
  Activation activation = Activation::quick_gelu;
  float layer_norm_eps = 1e-5f;
};

/// config.json of CLIPModel.
struct ClipConfig {
  TextConfig text;
  VisionConfig vision;
  int projection_size = 512;
  int eos_token_id = 2;  // of the text tower
};

/// vae/config.json of AutoencoderKL, AsymmetricAutoencoderKL or AutoencoderTiny. `block_out_channels` has one entry per level; every
/// level but the last halves the picture's sides.
struct VaeConfig {
  int in_channels = 3, out_channels = 3;
  int latent_channels = 4;
  std::vector<int> block_out_channels;
  int layers_per_block = 2;
  /// The decoder's, in the order of its config (of AutoencoderTiny from latents to picture); empty and 0: as the encoder's.
  std::vector<int> decoder_block_out_channels = {};
  int decoder_layers_per_block = 0;
  int norm_groups = 32;
  /// AutoencoderTiny: small residual blocks per level, and nothing that follows below. Empty: it is none.
  std::vector<int> encoder_blocks = {}, decoder_blocks = {};
  bool mid_attention = true;
  bool quant_conv = true, post_quant_conv = true;
};

}  // namespace cones
