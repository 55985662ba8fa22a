#include "ops/layer_norm.h"

#include <utility>

#include "base/error.h"
#include "device/backend.h"

namespace cones {

Tensor layer_norm_forward(const Context& context, const Tensor& x, const NormWeights& weights, float eps,
                          Tensor* statistics) {
  check(x.columns() == weights.weight.size(), "layer_norm: one weight per channel");
  return context.backend->layer_norm_forward(context, x, weights.weight, weights.bias, eps, statistics);
}

void layer_norm_backward(const Context& context, const Tensor& dy, const Tensor& x, const Tensor& statistics,
                         const NormWeights& weights, Tensor* dx, Tensor* dweight, Tensor* dbias) {
  context.backend->layer_norm_backward(context, dy, x, statistics, weights.weight, dx, dweight, dbias);
}

Var layer_norm(Tape& tape, const Var& x, const NormWeights& weights, float eps) {
  const Context& context = tape.context();
  const bool want_weight = tape.wants(weights.weight_parameter), want_bias = tape.wants(weights.bias_parameter);
  const bool wanted = tape.recording() && (x.requires_grad() || want_weight || want_bias);
  Tensor statistics;
  Var y = tape.result(layer_norm_forward(context, x.value(), weights, eps, wanted ? &statistics : nullptr), wanted);
  if (y.requires_grad())
    tape.record([&context, parameters = tape.parameters(), want_weight, want_bias, weights, statistics,
                 x = x.value(), gx = x.gradient(), dy = y.gradient()] {
      if (!dy->tensor.defined()) return;
      const Tensor gradient = std::exchange(dy->tensor, Tensor());
      Tensor dx, dweight, dbias;
      layer_norm_backward(context, gradient, x, statistics, weights, gx ? &dx : nullptr,
                          want_weight ? &dweight : nullptr, want_bias ? &dbias : nullptr);
      if (want_weight) parameters->add(context, *weights.weight_parameter, dweight);
      if (want_bias) parameters->add(context, *weights.bias_parameter, dbias);
      Tape::accumulate(context, gx, std::move(dx));
    });
  return y;
}

}  // namespace cones
