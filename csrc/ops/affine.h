// y = a·x + b, elementwise (the UNet's center_input_sample).
#pragma once

#include "ops/tape.h"

namespace cones {

Tensor affine_forward(const Context& context, const Tensor& x, float a, float b);
Tensor affine_backward(const Context& context, const Tensor& dy, float a);
Var affine(Tape& tape, const Var& x, float a, float b);

}  // namespace cones
