// The gated unit of the transformer blocks' feed-forward (Shazeer, 2020), as diffusers' GEGLU after its projection.
#pragma once

#include "ops/tape.h"

namespace cones {

/// y [..., C] = x[..., :C] · gelu(x[..., C:]) for x [..., 2C]; gelu is the exact one (erf).
Tensor geglu_forward(const Context& context, const Tensor& x);
/// dx [..., 2C] for dy [..., C].
Tensor geglu_backward(const Context& context, const Tensor& dy, const Tensor& x);
Var geglu(Tape& tape, const Var& x);

}  // namespace cones
