// The denoising loss (Eq. 1): a weighted mean-squared error with one weight per sample.
#pragma once

#include <span>
#include <vector>

#include "device/backend.h"

namespace cones {

struct MseLoss {
  double loss = 0;            // Σ_b weights[b] · means[b]
  std::vector<double> means;  // [B]: mean over the sample of (output − target)²
};

/// output and target [B, ...] fp32; sums in double. The result's gradient, where wanted, is that of loss with respect to output:
/// weights[b] · 2 (output − target) / (size / B). Its values are on the device until read_loss() waits for them.
MseResult mse_loss(const Context& context, const Tensor& output, const Tensor& target, std::span<const double> weights,
                   bool want_gradient);
MseLoss read_loss(const Context& context, const MseResult& result, std::span<const double> weights);

}  // namespace cones
