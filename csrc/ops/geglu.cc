#include "ops/geglu.h"

#include <utility>

#include "base/error.h"
#include "device/backend.h"

namespace cones {

Tensor geglu_forward(const Context& context, const Tensor& x) {
  check(x.columns() % 2 == 0, "geglu: an even number of channels");
  return context.backend->geglu_forward(context, x);
}

Tensor geglu_backward(const Context& context, const Tensor& dy, const Tensor& x) {
  check(2 * dy.size() == x.size(), "geglu: dy has half of the channels of x");
  return context.backend->geglu_backward(context, dy, x);
}

Var geglu(Tape& tape, const Var& x) {
  const Context& context = tape.context();
  Var y = tape.result(geglu_forward(context, x.value()), x.requires_grad());
  if (y.requires_grad())
    tape.record([&context, x = x.kept(), dx = x.gradient(), dy = y.gradient()] {
      if (!dy->tensor.defined()) return;
      const Tensor gradient = std::exchange(dy->tensor, Tensor());
      Tape::accumulate(context, dx, geglu_backward(context, gradient, x.get(context)));
    });
  return y;
}

}  // namespace cones
