#include <cmath>
#include <cstring>

#include "cpu/backend.h"

namespace cones {

// means: the doubles, two floats' room for each.
MseResult Cpu::mse_loss(const Context& context, const Tensor& output, const Tensor& target, std::span<const double> weights,
                        bool want_gradient) const {
  const index_t batch = static_cast<index_t>(weights.size()), size = output.size() / batch;
  MseResult result{context.empty({batch, 2}), context.empty({1}), want_gradient ? context.empty(output.shape()) : Tensor()};
  run(batch, [&](index_t b, int) {
    const double weight = weights[static_cast<std::size_t>(b)];
    double sum = 0;
    for (index_t i = b * size; i < (b + 1) * size; ++i) {
      const double difference = static_cast<double>(output.host()[i]) - static_cast<double>(target.host()[i]);
      sum += difference * difference;
      if (want_gradient)
        result.gradient.host()[i] = static_cast<float>(weight * 2 * difference / static_cast<double>(size));
    }
    const double mean = sum / static_cast<double>(size);
    std::memcpy(result.means.host() + 2 * b, &mean, sizeof mean);
  });
  run(1, [&](index_t, int) {
    double loss = 0;
    const std::vector<double> means = read_losses(context, result);
    for (std::size_t b = 0; b < weights.size(); ++b) loss += weights[b] * means[b];
    *result.finite.host() = std::isfinite(loss) ? 1.0f : 0.0f;
  });
  return result;
}

std::vector<double> Cpu::read_losses(const Context& context, const MseResult& result) const {
  std::vector<double> means(static_cast<std::size_t>(result.means.dim(0)));
  if (!context.planning()) std::memcpy(means.data(), result.means.host(), means.size() * sizeof(double));
  return means;
}

void Cpu::limit_norm(const Context&, const Tensor& values, double limit) const {
  run(1, [&](index_t, int) {
    double squares = 0;
    for (index_t i = 0; i < values.size(); ++i) squares += static_cast<double>(values.host()[i]) * static_cast<double>(values.host()[i]);
    const double length = std::sqrt(squares);
    if (!(length > limit)) return;
    for (index_t i = 0; i < values.size(); ++i) values.host()[i] = static_cast<float>(static_cast<double>(values.host()[i]) * (limit / length));
  });
}

void Cpu::adam(const Context&, const AdamStep& step, const Tensor& gradient, const Tensor& values, const Tensor& first_moment,
               const Tensor& second_moment, const Tensor& finite) const {
  const double k = static_cast<double>(step.step);
  const double rate = step.learning_rate / (1 - std::pow(step.beta1, k));
  const double correction2 = 1 / std::sqrt(1 - std::pow(step.beta2, k));
  const double kept = 1 - step.learning_rate * step.weight_decay;
  parallel(values.size(), 4096, [&](index_t begin, index_t end, int) {
    if (finite.defined() && *finite.host() == 0) return;
    for (index_t i = begin; i < end; ++i) {
      const double g = gradient.defined() ? static_cast<double>(gradient.host()[i]) : 0;
      float& m = first_moment.host()[i];
      float& v = second_moment.host()[i];
      m = static_cast<float>(step.beta1 * static_cast<double>(m) + (1 - step.beta1) * g);
      v = static_cast<float>(step.beta2 * static_cast<double>(v) + (1 - step.beta2) * g * g);
      const double move = rate * static_cast<double>(m) / (std::sqrt(static_cast<double>(v)) * correction2 + step.epsilon);
      values.host()[i] = static_cast<float>(static_cast<double>(values.host()[i]) * kept - move);
    }
  });
}

}  // namespace cones
