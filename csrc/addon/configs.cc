#include "addon/configs.h"

#include "addon/arguments.h"

namespace cones::addon {

Activation activation_name(const Napi::Object& o) {
  return text(o, "activation") == "gelu" ? Activation::gelu : Activation::quick_gelu;
}

UNetConfig unet_config(const Napi::Object& o) {
  UNetConfig c;
  c.in_channels = static_cast<int>(integer(o, "inChannels", 1, 1 << 16));
  c.out_channels = static_cast<int>(integer(o, "outChannels", 1, 1 << 16));
  c.block_out_channels = integers(o, "blockOutChannels");
  c.down_attention = booleans(o, "downAttention");
  c.up_attention = booleans(o, "upAttention");
  c.layers_per_block = integers(o, "layersPerBlock");
  c.heads = integers(o, "heads");
  c.transformer_layers = integers(o, "transformerLayers");
  c.cross_attention_dim = static_cast<int>(integer(o, "crossAttentionDim", 1, 1 << 16));
  c.norm_groups = static_cast<int>(integer(o, "normGroups", 1, 1 << 16));
  c.norm_eps = static_cast<float>(number(o, "normEps"));
  c.flip_sin_to_cos = boolean(o, "flipSinToCos");
  c.freq_shift = number(o, "freqShift");
  c.center_input = boolean(o, "centerInput");
  const std::size_t levels = c.block_out_channels.size();
  if (levels == 0 || c.down_attention.size() != levels || c.up_attention.size() != levels ||
      c.layers_per_block.size() != levels || c.heads.size() != levels || c.transformer_layers.size() != levels)
    invalid(o.Env(), "The UNet config's lists must have one entry per level.");
  return c;
}

TextConfig text_config(const Napi::Object& o) {
  TextConfig c;
  c.vocab_size = static_cast<int>(integer(o, "vocabSize", 1, 1 << 24));
  c.hidden_size = static_cast<int>(integer(o, "hiddenSize", 1, 1 << 16));
  c.intermediate_size = static_cast<int>(integer(o, "intermediateSize", 1, 1 << 18));
  c.layers = static_cast<int>(integer(o, "layers", 1, 1 << 10));
  c.heads = static_cast<int>(integer(o, "heads", 1, 1 << 10));
  c.max_positions = static_cast<int>(integer(o, "maxPositions", 1, 1 << 16));
  c.activation = activation_name(o);
  c.layer_norm_eps = static_cast<float>(number(o, "layerNormEps"));
  return c;
}

VaeConfig vae_config(const Napi::Object& o) {
  VaeConfig c;
  c.in_channels = static_cast<int>(integer(o, "inChannels", 1, 1 << 16));
  c.out_channels = static_cast<int>(integer(o, "outChannels", 1, 1 << 16));
  c.latent_channels = static_cast<int>(integer(o, "latentChannels", 1, 1 << 16));
  c.block_out_channels = integers(o, "blockOutChannels");
  c.layers_per_block = static_cast<int>(integer(o, "layersPerBlock", 1, 1 << 8));
  c.norm_groups = static_cast<int>(integer(o, "normGroups", 1, 1 << 16));
  c.mid_attention = boolean(o, "midAttention");
  c.quant_conv = boolean(o, "quantConv");
  c.post_quant_conv = boolean(o, "postQuantConv");
  return c;
}

}  // namespace cones::addon
