// Skip connections: two feature maps side by side in the channels.
#pragma once

#include "ops/tape.h"

namespace cones {

/// [B, H, W, Ca + Cb] of a [B, H, W, Ca] and b [B, H, W, Cb].
Tensor concat_channels_forward(const Context& context, const Tensor& a, const Tensor& b);
/// da and db of dy [B, H, W, Ca + Cb]; null means not wanted. `shape_a`, `shape_b`: of the inputs.
void concat_channels_backward(const Context& context, const Tensor& dy, const Shape& shape_a, const Shape& shape_b,
                              Tensor* da, Tensor* db);
Var concat_channels(Tape& tape, const Var& a, const Var& b);

}  // namespace cones
