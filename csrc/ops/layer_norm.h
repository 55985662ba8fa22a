// Layer normalisation (Ba et al., 2016) over the last dimension, as torch.nn.LayerNorm.
#pragma once

#include "ops/norm_weights.h"

namespace cones {

/// y [..., C] = (x − mean) / √(variance + eps) · weight + bias, over the last dimension.
/// statistics [rows, 2]: where not null, receives mean and 1/√(variance + eps), which backward needs.
Tensor layer_norm_forward(const Context& context, const Tensor& x, const NormWeights& weights, float eps,
                          Tensor* statistics = nullptr);

/// Gradients of layer_norm_forward for dy shaped like x; null means not wanted. dweight, dbias [C].
void layer_norm_backward(const Context& context, const Tensor& dy, const Tensor& x, const Tensor& statistics,
                         const NormWeights& weights, Tensor* dx, Tensor* dweight, Tensor* dbias);

Var layer_norm(Tape& tape, const Var& x, const NormWeights& weights, float eps);

}  // namespace cones
