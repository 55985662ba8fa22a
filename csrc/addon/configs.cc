#include "addon/configs.h"

#include "addon/arguments.h"

namespace cones::addon {
namespace {

constexpr std::size_t kMaxLevels = 16;
constexpr std::int64_t kMostBytes = std::int64_t{1} << 53;  // JavaScript counts no further
constexpr int kMaxCount = 1 << 20, kMaxLayers = 1 << 10;  // as lib/models/parse.ts

/// Channels per level, which the groups of the norms must divide.
std::vector<int> level_channels(const Napi::Object& o, const char* key, int groups) {
  std::vector<int> channels = integers(o, key, 1, kMaxCount);
  if (channels.empty() || channels.size() > kMaxLevels)
    invalid(o.Env(), std::string(key) + " must have 1 to " + std::to_string(kMaxLevels) + " levels.");
  for (const int count : channels)
    if (count % groups != 0) invalid(o.Env(), "normGroups must divide the channels of every level.");
  return channels;
}

}  // namespace

Activation activation_name(const Napi::Object& o) {
  return text(o, "activation") == "gelu" ? Activation::gelu : Activation::quick_gelu;
}

UNetConfig unet_config(const Napi::Object& o) {
  UNetConfig c;
  c.in_channels = static_cast<int>(integer(o, "inChannels", 1, kMaxCount));
  c.out_channels = static_cast<int>(integer(o, "outChannels", 1, kMaxCount));
  c.norm_groups = static_cast<int>(integer(o, "normGroups", 1, kMaxCount));
  c.block_out_channels = level_channels(o, "blockOutChannels", c.norm_groups);
  c.down_attention = booleans(o, "downAttention");
  c.up_attention = booleans(o, "upAttention");
  c.mid_block = boolean(o, "midBlock", true);
  c.layers_per_block = integers(o, "layersPerBlock", 1, kMaxLayers);
  c.heads = integers(o, "heads", 1, kMaxCount);
  c.transformer_layers = integers(o, "transformerLayers", 1, kMaxLayers);
  c.cross_attention_dim = static_cast<int>(integer(o, "crossAttentionDim", 1, kMaxCount));
  c.norm_eps = static_cast<float>(number(o, "normEps"));
  c.flip_sin_to_cos = boolean(o, "flipSinToCos");
  c.freq_shift = number(o, "freqShift");
  c.center_input = boolean(o, "centerInput");
  if (has(o, "timeCondDim")) c.time_cond_dim = static_cast<int>(integer(o, "timeCondDim", 0, kMaxCount));
  if (c.time_cond_dim == 1 || c.time_cond_dim == 2 || c.time_cond_dim == 3) invalid(o.Env(), "timeCondDim must be 0, or 4 or more.");
  const std::size_t levels = c.block_out_channels.size();
  if (c.down_attention.size() != levels || c.up_attention.size() != levels ||
      c.layers_per_block.size() != levels || c.heads.size() != levels || c.transformer_layers.size() != levels)
    invalid(o.Env(), "The UNet config's lists must have one entry per level.");
  for (std::size_t i = 0; i < levels; ++i) {
    const bool attends = c.down_attention[i] || c.up_attention[levels - 1 - i] || (c.mid_block && i + 1 == levels);
    if (attends && c.block_out_channels[i] % c.heads[i] != 0)
      invalid(o.Env(), "heads must divide the channels of their level.");
  }
  const int sinusoids = c.block_out_channels[0] / 2;
  if (c.block_out_channels[0] % 2 != 0 || c.freq_shift == sinusoids)
    invalid(o.Env(), "The first level's channels must be even, and half of them not freqShift.");
  return c;
}

TextConfig text_config(const Napi::Object& o) {
  TextConfig c;
  c.vocab_size = static_cast<int>(integer(o, "vocabSize", 1, kMaxCount));
  c.hidden_size = static_cast<int>(integer(o, "hiddenSize", 1, kMaxCount));
  c.intermediate_size = static_cast<int>(integer(o, "intermediateSize", 1, kMaxCount));
  c.layers = static_cast<int>(integer(o, "layers", 1, kMaxLayers));
  c.heads = static_cast<int>(integer(o, "heads", 1, kMaxCount));
  c.max_positions = static_cast<int>(integer(o, "maxPositions", 1, kMaxCount));
  c.activation = activation_name(o);
  c.layer_norm_eps = static_cast<float>(number(o, "layerNormEps"));
  if (c.hidden_size % c.heads != 0) invalid(o.Env(), "heads must divide hiddenSize.");
  return c;
}

WeightFiles weight_files(const Napi::Object& o) {
  WeightFiles files(strings(o, "files"));
  if (!has(o, "tensors")) return files;
  const Napi::Value value = o.Get("tensors");
  if (!value.IsArray()) invalid(o.Env(), "tensors must be an array.");
  const auto list = value.As<Napi::Array>();
  auto& tensors = files.tensors.emplace();
  for (std::uint32_t i = 0; i < list.Length(); ++i) {
    const Napi::Value entry = list.Get(i);
    if (!entry.IsObject()) invalid(o.Env(), "tensors must hold objects.");
    const auto t = entry.As<Napi::Object>();
    StoredTensor tensor;
    tensor.name = text(t, "name");
    tensor.dtype = text(t, "dtype");
    for (const std::int64_t dim : wholes(t, "shape", 0, kMostBytes)) tensor.shape.push_back(static_cast<std::uint64_t>(dim));
    tensor.file = static_cast<std::size_t>(integer(t, "file", 0, static_cast<std::int64_t>(files.paths.size()) - 1));
    tensor.offset = static_cast<std::uint64_t>(integer(t, "offset", 0, kMostBytes));
    tensors.push_back(std::move(tensor));
  }
  return files;
}

VaeConfig vae_config(const Napi::Object& o) {
  VaeConfig c;
  c.in_channels = static_cast<int>(integer(o, "inChannels", 1, kMaxCount));
  c.out_channels = static_cast<int>(integer(o, "outChannels", 1, kMaxCount));
  c.latent_channels = static_cast<int>(integer(o, "latentChannels", 1, kMaxCount));
  c.norm_groups = static_cast<int>(integer(o, "normGroups", 1, kMaxCount));
  c.block_out_channels = level_channels(o, "blockOutChannels", c.norm_groups);
  c.decoder_block_out_channels = has(o, "decoderBlockOutChannels") ? level_channels(o, "decoderBlockOutChannels", c.norm_groups) : c.block_out_channels;
  if (c.decoder_block_out_channels.size() != c.block_out_channels.size()) invalid(o.Env(), "Encoder and decoder must have as many levels.");
  c.layers_per_block = static_cast<int>(integer(o, "layersPerBlock", 1, kMaxLayers));
  c.decoder_layers_per_block = has(o, "decoderLayersPerBlock") ? static_cast<int>(integer(o, "decoderLayersPerBlock", 1, kMaxLayers)) : c.layers_per_block;
  if (has(o, "encoderBlocks")) {
    c.encoder_blocks = integers(o, "encoderBlocks", 0, kMaxLayers);
    c.decoder_blocks = integers(o, "decoderBlocks", 0, kMaxLayers);
    if (c.encoder_blocks.size() != c.block_out_channels.size() || c.decoder_blocks.size() != c.block_out_channels.size())
      invalid(o.Env(), "encoderBlocks and decoderBlocks must have one entry per level.");
  }
  c.mid_attention = boolean(o, "midAttention");
  c.quant_conv = boolean(o, "quantConv");
  c.post_quant_conv = boolean(o, "postQuantConv");
  return c;
}

}  // namespace cones::addon
