// The layers that models are made of, found among the weights by their names in PyTorch.
#pragma once

#include <string>

#include "io/weights.h"
#include "ops/conv2d.h"
#include "ops/linear.h"
#include "ops/norm_weights.h"

namespace cones {

/// 3×3, stride 2, half as large.
inline constexpr Conv2dOptions kHalve3x3{.stride = 2, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
/// 3×3, stride 1, output as large as the input.
inline constexpr Conv2dOptions kSame3x3{.stride = 1, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};

/// torch.nn.Linear: `<name>.weight` [out, in] and, with `bias`, `<name>.bias` [out].
LinearWeights find_linear(const Context& context, Weights& weights, const std::string& name, index_t out, index_t in,
                          bool bias = true);
/// A 1×1 torch.nn.Conv2d, `<name>.weight` [out, in, 1, 1] and `<name>.bias` [out]: a linear layer in channels-last.
LinearWeights find_conv1x1(const Context& context, Weights& weights, const std::string& name, index_t out, index_t in);
/// A 3×3 torch.nn.Conv2d: `<name>.weight` [out, in, 3, 3] and, with `bias`, `<name>.bias` [out].
ConvWeights find_conv3x3(const Context& context, Weights& weights, const std::string& name, index_t out, index_t in,
                         bool bias = true);
/// GroupNorm or LayerNorm: `<name>.weight` and `<name>.bias`, both [channels].
NormWeights find_norm(const Context& context, Weights& weights, const std::string& name, index_t channels);

}  // namespace cones
