#include "ops/affine.h"

namespace cones {

Tensor affine_forward(const Context& context, const Tensor& x, float a, float b) {
  Tensor y = context.empty(x.shape());
  if (context.planning()) return y;
  for (index_t i = 0; i < x.size(); ++i) y.data()[i] = a * x.data()[i] + b;
  return y;
}

Tensor affine_backward(const Context& context, const Tensor& dy, float a) { return affine_forward(context, dy, a, 0.0f); }

Var affine(Tape& tape, const Var& x, float a, float b) {
  const Context& context = tape.context();
  Var y = tape.result(affine_forward(context, x.value(), a, b), x.requires_grad());
  if (!y.requires_grad()) return y;
  tape.record([&context, a, dx = x.gradient(), dy = y.gradient()] {
    if (!dy->tensor.defined()) return;
    Tape::accumulate(context, dx, affine_backward(context, dy->tensor, a));
    dy->tensor = Tensor();
  });
  return y;
}

}  // namespace cones
