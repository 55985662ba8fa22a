#include "model/resnet.h"

#include "base/error.h"
#include "model/layers.h"
#include "ops/group_norm.h"

namespace cones {

ResnetBlock::ResnetBlock(const Context& context, Weights& weights, const std::string& prefix, const ResnetConfig& c)
    : groups_(c.groups),
      eps_(c.eps),
      norm1_(find_norm(context, weights, prefix + ".norm1", c.in_channels)),
      norm2_(find_norm(context, weights, prefix + ".norm2", c.out_channels)),
      conv1_(find_conv3x3(context, weights, prefix + ".conv1", c.out_channels, c.in_channels)),
      conv2_(find_conv3x3(context, weights, prefix + ".conv2", c.out_channels, c.out_channels)) {
  if (c.time_channels > 0)
    time_.emplace(find_linear(context, weights, prefix + ".time_emb_proj", c.out_channels, c.time_channels));
  if (c.in_channels != c.out_channels)
    shortcut_.emplace(find_conv1x1(context, weights, prefix + ".conv_shortcut", c.out_channels, c.in_channels));
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
