#include "ops/activation.h"

#include <utility>

#include "kernels/kernels.h"

namespace cones {
namespace {

constexpr index_t kGrain = 1 << 15;  // elements

}  // namespace

Tensor activation_forward(const Context& context, const Tensor& x, Activation activation) {
  Tensor y = context.empty(x.shape());
  if (context.planning()) return y;
  context.parallel(x.size(), kGrain, [&](index_t begin, index_t end, int) {
    context.kernels->vector->activation(activation, end - begin, x.data() + begin, y.data() + begin);
  });
  return y;
}

Tensor activation_backward(const Context& context, const Tensor& dy, const Tensor& x, Activation activation) {
  Tensor dx = context.empty(x.shape());
  if (context.planning()) return dx;
  context.parallel(x.size(), kGrain, [&](index_t begin, index_t end, int) {
    context.kernels->vector->activation_backward(activation, end - begin, x.data() + begin, dy.data() + begin,
                                                 dx.data() + begin);
  });
  return dx;
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
