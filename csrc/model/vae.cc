#include "model/vae.h"

#include "base/error.h"
#include "model/layers.h"
#include "ops/attention.h"
#include "ops/group_norm.h"
#include "ops/upsample.h"

namespace cones {
namespace {

constexpr float kEps = 1e-6f;  // of every group norm in AutoencoderKL

// F.pad(x, (0, 1, 0, 1)) before a 3×3 convolution of stride 2 without padding.
constexpr Conv2dOptions kHalveAsymmetric{.stride = 2, .pad_top = 0, .pad_left = 0, .pad_bottom = 1, .pad_right = 1};

ResnetBlock find_resnet(const Context& context, Weights& weights, const std::string& name, const VaeConfig& config,
                        index_t in, index_t out) {
  return ResnetBlock(context, weights, name,
                     {.in_channels = in, .out_channels = out, .time_channels = 0, .groups = config.norm_groups, .eps = kEps});
}

VaeLevel find_level(const Context& context, Weights& weights, const std::string& name, const VaeConfig& config,
                    index_t in, index_t out, int resnets) {
  VaeLevel level;
  for (int i = 0; i < resnets; ++i)
    level.resnets.push_back(
        find_resnet(context, weights, name + ".resnets." + std::to_string(i), config, i == 0 ? in : out, out));
  return level;
}

Var run_resnets(Tape& tape, const VaeLevel& level, Var h) {
  for (const ResnetBlock& resnet : level.resnets) {
    tape.context().check_aborted();
    h = resnet.forward(tape, h, nullptr);
  }
  return h;
}

// What the decoder's config says, which may have been left out.
const std::vector<int>& decoder_channels(const VaeConfig& config) {
  return config.decoder_block_out_channels.empty() ? config.block_out_channels : config.decoder_block_out_channels;
}

}  // namespace

VaeMidBlock::VaeMidBlock(const Context& context, Weights& weights, const std::string& prefix, const VaeConfig& config, index_t channels)
    : groups_(config.norm_groups),
      first_(find_resnet(context, weights, prefix + ".resnets.0", config, channels, channels)),
      last_(find_resnet(context, weights, prefix + ".resnets.1", config, channels, channels)) {
  if (config.mid_attention) attention_ = find_attention(context, weights, prefix + ".attentions.0", channels);
}

VaeMidBlock::Attention VaeMidBlock::find_attention(const Context& context, Weights& weights, const std::string& name,
                                                   index_t channels) {
  const auto projection = [&](const std::string& now, const std::string& old) {
    const std::string layer = name + (weights.has(name + old + ".weight") ? old : now);
    // The oldest files hold these layers as 1×1 convolutions.
    const Parameter* weight = weights.find_either(layer + ".weight", {channels, channels}, {channels, channels, 1, 1});
    return LinearWeights(context, weight, weights.find(layer + ".bias", {channels}));
  };
  return {.norm = find_norm(context, weights, name + ".group_norm", channels),
          .query = projection(".to_q", ".query"),
          .key = projection(".to_k", ".key"),
          .value = projection(".to_v", ".value"),
          .output = projection(".to_out.0", ".proj_attn")};
}

Var VaeMidBlock::attend(Tape& tape, const Var& x) const {
  const Shape image = x.shape();
  const Var tokens = x.reshape({image[0], image[1] * image[2], image[3]});
  const Var normed = group_norm(tape, tokens, attention_->norm, groups_, kEps, false);
  const Var query = linear(tape, normed, attention_->query);
  const Var key = linear(tape, normed, attention_->key);
  const Var value = linear(tape, normed, attention_->value);
  const Var attended = attention(tape, query, key, value, AttentionOptions{.heads = 1});
  return linear(tape, attended, attention_->output, &tokens).reshape(image);
}

Var VaeMidBlock::forward(Tape& tape, const Var& x) const {
  tape.context().check_aborted();
  Var h = first_.forward(tape, x, nullptr);
  if (attention_) h = attend(tape, h);
  return last_.forward(tape, h, nullptr);
}

VaeEncoder::VaeEncoder(const Context& context, Weights& weights, const VaeConfig& config)
    : groups_(config.norm_groups),
      conv_in_(find_conv3x3(context, weights, "encoder.conv_in", config.block_out_channels.front(), config.in_channels)),
      mid_(context, weights, "encoder.mid_block", config, config.block_out_channels.back()),
      norm_out_(find_norm(context, weights, "encoder.conv_norm_out", config.block_out_channels.back())),
      conv_out_(find_conv3x3(context, weights, "encoder.conv_out", 2 * config.latent_channels,
                             config.block_out_channels.back())) {
  index_t in = config.block_out_channels.front();
  for (std::size_t i = 0; i < config.block_out_channels.size(); ++i) {
    const index_t out = config.block_out_channels[i];
    const std::string name = "encoder.down_blocks." + std::to_string(i);
    VaeLevel& level =
        levels_.emplace_back(find_level(context, weights, name, config, in, out, config.layers_per_block));
    if (i + 1 < config.block_out_channels.size())
      level.resample.emplace(find_conv3x3(context, weights, name + ".downsamplers.0.conv", out, out));
    in = out;
  }
  const index_t moments = 2 * index_t{config.latent_channels};
  if (config.quant_conv) quant_.emplace(find_conv1x1(context, weights, "quant_conv", moments, moments));
}

Var VaeEncoder::forward(Tape& tape, const Var& pixels) const {
  Var h = conv2d(tape, pixels, conv_in_, kSame3x3);
  for (const VaeLevel& level : levels_) {
    h = run_resnets(tape, level, std::move(h));
    if (level.resample) h = conv2d(tape, h, *level.resample, kHalveAsymmetric);
  }
  h = mid_.forward(tape, h);
  h = conv2d(tape, group_norm(tape, h, norm_out_, groups_, kEps, true), conv_out_, kSame3x3, nullptr, nullptr,
             quant_ ? tape.context().backend->activation() : DType::f32);
  return quant_ ? linear(tape, h, *quant_, nullptr, DType::f32) : h;
}

VaeDecoder::VaeDecoder(const Context& context, Weights& weights, const VaeConfig& config)
    : groups_(config.norm_groups),
      conv_in_(
          find_conv3x3(context, weights, "decoder.conv_in", decoder_channels(config).back(), config.latent_channels)),
      mid_(context, weights, "decoder.mid_block", config, decoder_channels(config).back()),
      norm_out_(find_norm(context, weights, "decoder.conv_norm_out", decoder_channels(config).front())),
      conv_out_(
          find_conv3x3(context, weights, "decoder.conv_out", config.out_channels, decoder_channels(config).front())) {
  if (config.post_quant_conv)
    post_quant_.emplace(
        find_conv1x1(context, weights, "post_quant_conv", config.latent_channels, config.latent_channels));
  const std::vector<int>& channels = decoder_channels(config);
  const int layers = config.decoder_layers_per_block > 0 ? config.decoder_layers_per_block : config.layers_per_block;
  const std::size_t count = channels.size();
  index_t in = channels.back();
  for (std::size_t i = 0; i < count; ++i) {
    const index_t out = channels[count - 1 - i];
    const std::string name = "decoder.up_blocks." + std::to_string(i);
    VaeLevel& level =
        levels_.emplace_back(find_level(context, weights, name, config, in, out, layers + 1));
    if (i + 1 < count) level.resample.emplace(find_conv3x3(context, weights, name + ".upsamplers.0.conv", out, out));
    in = out;
  }
}

Var VaeDecoder::forward(Tape& tape, const Var& latents) const {
  Var h = conv2d(tape, post_quant_ ? linear(tape, latents, *post_quant_) : latents, conv_in_, kSame3x3);
  h = mid_.forward(tape, h);
  for (const VaeLevel& level : levels_) {
    h = run_resnets(tape, level, std::move(h));
    if (!level.resample) continue;
    h = upsample_nearest(tape, h, 2 * h.shape()[1], 2 * h.shape()[2]);
    h = conv2d(tape, h, *level.resample, kSame3x3);
  }
  tape.context().check_aborted();
  h = group_norm(tape, h, norm_out_, groups_, kEps, true);
  return conv2d(tape, h, conv_out_, kSame3x3, nullptr, nullptr, DType::f32);
}

Vae::Vae(const Context& context, Weights& weights, const VaeConfig& config)
    : config_(config),
      coder_(config.encoder_blocks.empty()
                 ? std::variant<Kl, TinyAutoencoder>(Kl{VaeEncoder(context, weights, config), VaeDecoder(context, weights, config)})
                 : TinyAutoencoder(context, weights, config)) {}

Var Vae::encode(Tape& tape, const Var& pixels) const {
  if (const Kl* kl = std::get_if<Kl>(&coder_)) return kl->encoder.forward(tape, checked(pixels));
  return std::get<TinyAutoencoder>(coder_).encode(tape, checked(pixels));
}

Var Vae::decode(Tape& tape, const Var& latents) const {
  if (const Kl* kl = std::get_if<Kl>(&coder_)) return kl->decoder.forward(tape, latents);
  return std::get<TinyAutoencoder>(coder_).decode(tape, latents);
}

const Var& Vae::checked(const Var& pixels) const {
  const index_t height = pixels.shape()[1], width = pixels.shape()[2];
  if (height < downscale() || width < downscale())
    fail("CONES_OPTION_INVALID", "The autoencoder needs pictures of at least " + std::to_string(downscale()) +
                                     " pixels a side, but this one has " + std::to_string(width) + " × " +
                                     std::to_string(height) + ".");
  return pixels;
}

}  // namespace cones
