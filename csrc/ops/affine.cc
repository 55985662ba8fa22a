#include "ops/affine.h"

#include "device/backend.h"

namespace cones {

Tensor affine_forward(const Context& context, const Tensor& x, float a, float b) {
  return context.backend->affine(context, x, a, b);
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
