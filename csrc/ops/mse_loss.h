// The denoising loss (Eq. 1): a weighted mean-squared error with one weight per sample.
#pragma once

#include <span>
#include <vector>

#include "base/context.h"

namespace cones {

struct MseLoss {
  double loss = 0;               // Σ_b weights[b] · means[b]
  std::vector<double> means;     // [B]: mean over the sample of (output − target)²
  Tensor gradient;               // of loss with respect to output: weights[b] · 2 (output − target) / (size / B)
};

/// output and target [B, ...]; sums in double. The gradient is left undefined unless wanted.
MseLoss mse_loss(const Context& context, const Tensor& output, const Tensor& target, std::span<const double> weights,
                 bool want_gradient);

}  // namespace cones
