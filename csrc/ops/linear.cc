#include "ops/linear.h"

#include "base/error.h"
#include "device/backend.h"

namespace cones {

LinearWeights::LinearWeights(const Context& context, const Parameter* weight, const Parameter* bias)
    : weight_(weight), bias_(bias), in_(weight->size() / weight->shape[0]), out_(weight->shape[0]) {
  check(bias == nullptr || bias->size() == out_, "a linear layer's bias has one value per output");
  prepared_ = context.backend->prepare_linear(context, *weight, bias);
}

Tensor linear_forward(const Context& context, const Tensor& x, const LinearWeights& weights, const Tensor* residual,
                      std::optional<DType> dtype) {
  check(x.columns() == weights.in(), "linear: the last dimension of x is the layer's input size");
  check(residual == nullptr || residual->size() == x.rows() * weights.out(), "linear: the residual is shaped like the output");
  return context.backend->linear_forward(context, x, weights.prepared(), weights.out(), residual,
                                         dtype.value_or(context.backend->activation()));
}

Tensor linear_backward_input(const Context& context, const Tensor& dy, const LinearWeights& weights,
                             const Tensor& onto) {
  check(dy.columns() == weights.out(), "linear: the last dimension of dy is the layer's output size");
  check(!onto.defined() || onto.size() == dy.rows() * weights.in(), "linear: gradients of one input have one size");
  return context.backend->linear_backward_input(context, dy, weights.prepared(), weights.in(), onto);
}

Var linear(Tape& tape, const Var& x, const LinearWeights& weights, const Var* residual, std::optional<DType> dtype) {
  const Context& context = tape.context();
  const bool wants_weight = tape.wants(weights.weight()), wants_bias = tape.wants(weights.bias());
  Var y = tape.result(linear_forward(context, x.value(), weights, residual ? &residual->value() : nullptr, dtype),
                      x.requires_grad() || wants_weight || wants_bias || (residual && residual->requires_grad()));
  tape.add_changes(weights.weight(), x.value(), y.value());
  if (!y.requires_grad()) return y;
  tape.record([&context, &weights, shape = x.shape(), parameters = tape.parameters(), kept = wants_weight ? x.kept() : Kept(),
               dx = x.gradient(), dresidual = residual ? residual->gradient() : nullptr, dy = y.gradient(),
               wants_bias] {
    if (!dy->tensor.defined()) return;
    const Tensor gradient = dy->tensor.reshape({dy->tensor.size() / weights.out(), weights.out()});
    Tape::accumulate(context, dresidual, dy->tensor);
    dy->tensor = Tensor();
    if (dx) dx->tensor = linear_backward_input(context, gradient, weights, dx->tensor).reshape(shape);
    if (kept.defined()) {
      const Tensor input = kept.get(context);
      parameters->add_outer(context, *weights.weight(), input.reshape({input.rows(), weights.in()}), gradient);
    }
    if (wants_bias) parameters->add(context, *weights.bias(), context.backend->bias_gradient(context, gradient));
  });
  return y;
}

}  // namespace cones
