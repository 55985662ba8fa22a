#include "ops/mse_loss.h"

#include "base/error.h"

namespace cones {

MseResult mse_loss(const Context& context, const Tensor& output, const Tensor& target, std::span<const double> weights,
                   bool want_gradient) {
  check(output.size() == target.size() && static_cast<index_t>(weights.size()) == output.dim(0),
        "mse_loss: one weight per sample, equal sizes");
  return context.backend->mse_loss(context, output, target, weights, want_gradient);
}

MseLoss read_loss(const Context& context, const MseResult& result, std::span<const double> weights) {
  MseLoss values{0, context.backend->read_losses(context, result)};
  for (std::size_t b = 0; b < weights.size(); ++b) values.loss += weights[b] * values.means[b];
  return values;
}

}  // namespace cones
