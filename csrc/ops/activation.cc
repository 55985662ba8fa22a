#include "ops/activation.h"

#include <utility>

#include "device/backend.h"

namespace cones {

Tensor activation_forward(const Context& context, const Tensor& x, Activation activation) {
  return context.backend->activation_forward(context, x, activation);
}

Tensor activation_backward(const Context& context, const Tensor& dy, const Tensor& x, Activation activation) {
  return context.backend->activation_backward(context, dy, x, activation);
}

Var activation(Tape& tape, const Var& x, Activation activation) {
  const Context& context = tape.context();
  Var y = tape.result(activation_forward(context, x.value(), activation), x.requires_grad());
  if (y.requires_grad())
    tape.record([&context, activation, x = x.value(), dx = x.gradient(), dy = y.gradient()] {
      if (!dy->tensor.defined()) return;
      const Tensor gradient = std::exchange(dy->tensor, Tensor());
      Tape::accumulate(context, dx, activation_backward(context, gradient, x, activation));
    });
  return y;
}

}  // namespace cones
