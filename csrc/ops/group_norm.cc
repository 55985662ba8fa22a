#include "ops/group_norm.h"

#include <utility>

#include "base/error.h"
#include "device/backend.h"

namespace cones {
namespace {

void check_sizes(const Tensor& x, const NormWeights& weights, int groups) {
  check(groups > 0 && x.columns() % groups == 0, "group_norm: the groups divide the channels");
  check(x.columns() == weights.weight.size(), "group_norm: one weight per channel");
}

}  // namespace

Tensor group_norm_forward(const Context& context, const Tensor& x, const NormWeights& weights,
                          const GroupNormOptions& options, Tensor* statistics) {
  check_sizes(x, weights, options.groups);
  return context.backend->group_norm_forward(context, x, weights.weight, weights.bias, options, statistics);
}

void group_norm_backward(const Context& context, const Tensor& dy, const Tensor& x, const Tensor& statistics,
                         const NormWeights& weights, const GroupNormOptions& options, Tensor* dx, Tensor* dweight,
                         Tensor* dbias) {
  check_sizes(x, weights, options.groups);
  context.backend->group_norm_backward(context, dy, x, statistics, weights.weight, weights.bias, options, dx, dweight, dbias);
}

Var group_norm(Tape& tape, const Var& x, const NormWeights& weights, int groups, float eps, bool silu) {
  const Context& context = tape.context();
  const GroupNormOptions options{groups, eps, silu};
  const bool want_weight = tape.wants(weights.weight_parameter), want_bias = tape.wants(weights.bias_parameter);
  const bool wanted = tape.recording() && (x.requires_grad() || want_weight || want_bias);
  Tensor statistics;
  Var y = tape.result(group_norm_forward(context, x.value(), weights, options, wanted ? &statistics : nullptr), wanted);
  if (y.requires_grad())
    tape.record([&context, parameters = tape.parameters(), want_weight, want_bias, weights, options, statistics,
                 x = x.kept(), gx = x.gradient(), dy = y.gradient()] {
      if (!dy->tensor.defined()) return;
      const Tensor gradient = std::exchange(dy->tensor, Tensor());
      Tensor dx, dweight, dbias;
      group_norm_backward(context, gradient, x.get(context), statistics, weights, options, gx ? &dx : nullptr,
                          want_weight ? &dweight : nullptr, want_bias ? &dbias : nullptr);
      if (want_weight) parameters->add(context, *weights.weight_parameter, dweight);
      if (want_bias) parameters->add(context, *weights.bias_parameter, dbias);
      Tape::accumulate(context, gx, std::move(dx));
    });
  return y;
}

}  // namespace cones
