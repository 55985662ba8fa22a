// Nearest-neighbour resizing, as torch.nn.functional.interpolate(mode="nearest").
#pragma once

#include "ops/tape.h"

namespace cones {

/// y [B, out_h, out_w, C] of x [B, H, W, C]: y[i, j] = x[⌊i·H/out_h⌋, ⌊j·W/out_w⌋].
Tensor upsample_nearest_forward(const Context& context, const Tensor& x, index_t out_h, index_t out_w);
/// dx, shaped `shape_x`, of dy [B, out_h, out_w, C].
Tensor upsample_nearest_backward(const Context& context, const Tensor& dy, const Shape& shape_x);
Var upsample_nearest(Tape& tape, const Var& x, index_t out_h, index_t out_w);

}  // namespace cones
