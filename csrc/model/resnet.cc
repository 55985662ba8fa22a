#include "model/resnet.h"

#include "base/error.h"
#include "ops/group_norm.h"

namespace cones {
namespace {

constexpr Conv2dOptions kSame3x3{.stride = 1, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};

NormWeights norm_weights(const Context& context, Weights& weights, const std::string& name, index_t channels) {
  return NormWeights(context, weights.find(name + ".weight", {channels}), weights.find(name + ".bias", {channels}));
}

ConvWeights conv3x3(const Context& context, Weights& weights, const std::string& name, index_t out, index_t in) {
  return ConvWeights(context, weights.find(name + ".weight", {out, in, 3, 3}), weights.find(name + ".bias", {out}));
}

}  // namespace

ResnetBlock::ResnetBlock(const Context& context, Weights& weights, const std::string& prefix, const ResnetConfig& c)
    : groups_(c.groups),
      eps_(c.eps),
      norm1_(norm_weights(context, weights, prefix + ".norm1", c.in_channels)),
      norm2_(norm_weights(context, weights, prefix + ".norm2", c.out_channels)),
      conv1_(conv3x3(context, weights, prefix + ".conv1", c.out_channels, c.in_channels)),
      conv2_(conv3x3(context, weights, prefix + ".conv2", c.out_channels, c.out_channels)) {
  if (c.time_channels > 0) {
    const std::string name = prefix + ".time_emb_proj";
    time_.emplace(context, weights.find(name + ".weight", {c.out_channels, c.time_channels}),
                  weights.find(name + ".bias", {c.out_channels}));
  }
  if (c.in_channels != c.out_channels) {
    const std::string name = prefix + ".conv_shortcut";
    shortcut_.emplace(context, weights.find(name + ".weight", {c.out_channels, c.in_channels, 1, 1}),
                      weights.find(name + ".bias", {c.out_channels}));
  }
}

Var ResnetBlock::forward(Tape& tape, const Var& x, const Var* time_silu) const {
  check((time_silu != nullptr) == time_.has_value(), "a resnet block gets a time embedding exactly if it projects one");
  Var h;
  {
    const Var normed = group_norm(tape, x, norm1_, groups_, eps_, true);
    const Var time = time_ ? linear(tape, *time_silu, *time_) : Var();  // [B, out]
    h = conv2d(tape, normed, conv1_, kSame3x3, nullptr, time_ ? &time : nullptr);
  }
  h = group_norm(tape, h, norm2_, groups_, eps_, true);
  const Var residual = shortcut_ ? linear(tape, x, *shortcut_) : x;
  return conv2d(tape, h, conv2_, kSame3x3, &residual);
}

}  // namespace cones
