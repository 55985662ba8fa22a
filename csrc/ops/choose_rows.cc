#include "ops/choose_rows.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "device/backend.h"

namespace cones {

Tensor choose_rows_forward(const Context& context, const Tensor& x, const std::vector<int>& source, const Tensor& rest) {
  const index_t batch = static_cast<index_t>(source.size()), row = x.size() / x.dim(0);
  check(x.shape().rank() == 3 && (!rest.defined() || (rest.dim(0) == batch && rest.size() == batch * row)),
        "choose_rows: x [U, T, D] and rest [B, T, D]");
  return context.backend->choose_rows_forward(context, x, source, rest);
}

Tensor choose_rows_backward(const Context& context, const Tensor& dy, const std::vector<int>& source, const Shape& shape) {
  return context.backend->choose_rows_backward(context, dy, source, shape);
}

Var choose_rows(Tape& tape, const Var& x, std::vector<int> source, const Tensor& rest) {
  const Context& context = tape.context();
  Var y = tape.result(choose_rows_forward(context, x.value(), source, rest), x.requires_grad());
  if (y.requires_grad())
    tape.record([&context, source = std::move(source), shape = x.shape(), dx = x.gradient(), dy = y.gradient()] {
      if (!dy->tensor.defined()) return;
      const Tensor gradient = std::exchange(dy->tensor, Tensor());
      Tape::accumulate(context, dx, choose_rows_backward(context, gradient, source, shape));
    });
  return y;
}

}  // namespace cones
