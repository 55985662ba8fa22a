// Group normalisation (Wu & He, 2018) as torch.nn.GroupNorm, with an optional SiLU behind it in the same pass.
#pragma once

#include "device/options.h"
#include "ops/norm_weights.h"

namespace cones {

/// x [B, ..., C], normalised over each sample's positions and each group of C/groups neighbouring channels.
/// statistics [B, groups, 2]: where not null, receives mean and 1/√(variance + eps), which backward needs.
Tensor group_norm_forward(const Context& context, const Tensor& x, const NormWeights& weights,
                          const GroupNormOptions& options, Tensor* statistics = nullptr);

/// Gradients of group_norm_forward for dy shaped like x; null means not wanted. dweight, dbias [C].
void group_norm_backward(const Context& context, const Tensor& dy, const Tensor& x, const Tensor& statistics,
                         const NormWeights& weights, const GroupNormOptions& options, Tensor* dx, Tensor* dweight,
                         Tensor* dbias);

/// x [B, H, W, C] or [B, T, C].
Var group_norm(Tape& tape, const Var& x, const NormWeights& weights, int groups, float eps, bool silu);

}  // namespace cones
