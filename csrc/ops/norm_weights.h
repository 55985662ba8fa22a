// The scale and shift of a normalisation layer, as fp32.
#pragma once

#include "ops/tape.h"

namespace cones {

struct NormWeights {
  NormWeights() = default;
  /// Reads both parameters, each [C]; CONES_TENSOR_SHAPE where they differ.
  NormWeights(const Context& context, const Parameter* weight, const Parameter* bias);

  const Parameter* weight_parameter = nullptr;  // for gradients; outlive this
  const Parameter* bias_parameter = nullptr;
  Tensor weight, bias;  // [C]
};

}  // namespace cones
