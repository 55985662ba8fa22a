#include "model/tiny_autoencoder.h"

#include <cmath>

#include "model/layers.h"
#include "ops/activation.h"
#include "ops/affine.h"
#include "ops/upsample.h"

namespace cones {
namespace {

std::string layer(const char* side, std::size_t index) { return std::string(side) + ".layers." + std::to_string(index); }

// A convolution and its place in the sequence: what stands before it.
std::size_t layers_before_latents_out(const VaeConfig& config) {
  std::size_t count = 0;
  for (const int blocks : config.encoder_blocks) count += 1 + static_cast<std::size_t>(blocks);
  return count;
}

const std::vector<int>& decoder_channels(const VaeConfig& config) {
  return config.decoder_block_out_channels.empty() ? config.block_out_channels : config.decoder_block_out_channels;
}

}  // namespace

TinyBlock::TinyBlock(const Context& context, Weights& weights, const std::string& prefix, index_t in, index_t out) {
  for (const int i : {0, 2, 4})
    convolutions_.push_back(find_conv3x3(context, weights, prefix + ".conv." + std::to_string(i), out, i == 0 ? in : out));
  if (in != out) skip_.emplace(LinearWeights(context, weights.find(prefix + ".skip.weight", {out, in, 1, 1}), nullptr));
}

Var TinyBlock::forward(Tape& tape, const Var& x) const {
  tape.context().check_aborted();
  Var h = activation(tape, conv2d(tape, x, convolutions_[0], kSame3x3), Activation::relu);
  h = activation(tape, conv2d(tape, h, convolutions_[1], kSame3x3), Activation::relu);
  const Var beside = skip_ ? linear(tape, x, *skip_) : x;
  return activation(tape, conv2d(tape, h, convolutions_[2], kSame3x3, &beside), Activation::relu);
}

TinyAutoencoder::TinyAutoencoder(const Context& context, Weights& weights, const VaeConfig& config)
    : latents_out_(find_conv3x3(context, weights, layer("encoder", layers_before_latents_out(config)), config.latent_channels,
                                config.block_out_channels.back())),
      latents_in_(find_conv3x3(context, weights, layer("decoder", 0), decoder_channels(config).front(), config.latent_channels)) {
  std::size_t at = 0;
  for (std::size_t i = 0; i < config.encoder_blocks.size(); ++i) {
    // A level's channels are those of the one before; only the first convolution changes them.
    const index_t channels = config.block_out_channels[i];
    Level& level = down_.emplace_back(
        Level{{}, find_conv3x3(context, weights, layer("encoder", at++), channels, i == 0 ? config.in_channels : channels, i == 0)});
    for (int k = 0; k < config.encoder_blocks[i]; ++k)
      level.blocks.emplace_back(context, weights, layer("encoder", at++), channels, channels);
  }
  at = 2;  // latents_in_ and its activation
  for (std::size_t i = 0; i < config.decoder_blocks.size(); ++i) {
    const index_t channels = decoder_channels(config)[i];
    const bool last = i + 1 == config.decoder_blocks.size();
    std::vector<TinyBlock> blocks;
    for (int k = 0; k < config.decoder_blocks[i]; ++k) blocks.emplace_back(context, weights, layer("decoder", at++), channels, channels);
    if (!last) ++at;  // the upsampling, which has no weights
    up_.push_back({std::move(blocks), find_conv3x3(context, weights, layer("decoder", at++), last ? config.out_channels : channels, channels, last)});
  }
}

Var TinyAutoencoder::encode(Tape& tape, const Var& pixels) const {
  Var h = affine(tape, pixels, 0.5f, 0.5f);
  for (std::size_t i = 0; i < down_.size(); ++i) {
    h = conv2d(tape, h, down_[i].convolution, i == 0 ? kSame3x3 : kHalve3x3);
    for (const TinyBlock& block : down_[i].blocks) h = block.forward(tape, h);
  }
  return conv2d(tape, h, latents_out_, kSame3x3, nullptr, nullptr, DType::f32);
}

Var TinyAutoencoder::decode(Tape& tape, const Var& latents) const {
  Var h = activation(tape, conv2d(tape, latents, latents_in_, kSame3x3), Activation::relu);
  for (std::size_t i = 0; i < up_.size(); ++i) {
    const bool last = i + 1 == up_.size();
    for (const TinyBlock& block : up_[i].blocks) h = block.forward(tape, h);
    if (!last) h = upsample_nearest(tape, h, 2 * h.shape()[1], 2 * h.shape()[2]);
    h = conv2d(tape, h, up_[i].convolution, kSame3x3, nullptr, nullptr, last ? DType::f32 : tape.context().backend->activation());
  }
  return h;
}

float TinyAutoencoder::limit(float latent) { return static_cast<float>(3 * std::tanh(static_cast<double>(latent) / 3)); }

}  // namespace cones
