#include "ops/mse_loss.h"

#include "base/error.h"

namespace cones {

MseLoss mse_loss(const Context& context, const Tensor& output, const Tensor& target, std::span<const double> weights,
                 bool want_gradient) {
  const index_t batch = static_cast<index_t>(weights.size());
  check(output.size() == target.size() && batch == output.dim(0), "mse_loss: one weight per sample, equal sizes");
  MseLoss result;
  result.means.assign(weights.size(), 0.0);
  if (want_gradient) result.gradient = context.empty(output.shape());
  if (context.planning()) return result;
  const index_t size = output.size() / batch;
  for (index_t b = 0; b < batch; ++b) {
    const double weight = weights[static_cast<std::size_t>(b)];
    double sum = 0;
    for (index_t i = b * size; i < (b + 1) * size; ++i) {
      const double difference = static_cast<double>(output.data()[i]) - static_cast<double>(target.data()[i]);
      sum += difference * difference;
      if (want_gradient)
        result.gradient.data()[i] = static_cast<float>(weight * 2 * difference / static_cast<double>(size));
    }
    result.means[static_cast<std::size_t>(b)] = sum / static_cast<double>(size);
    result.loss += weight * result.means[static_cast<std::size_t>(b)];
  }
  return result;
}

}  // namespace cones
