// Elementwise activations, named as in the configs of diffusers and transformers.
#pragma once

#include "device/options.h"
#include "ops/tape.h"

namespace cones {

Tensor activation_forward(const Context& context, const Tensor& x, Activation activation);
Tensor activation_backward(const Context& context, const Tensor& dy, const Tensor& x, Activation activation);
Var activation(Tape& tape, const Var& x, Activation activation);

}  // namespace cones
