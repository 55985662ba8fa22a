#include "ops/concat.h"

#include <utility>

#include "base/error.h"
#include "device/backend.h"

namespace cones {

Tensor concat_channels_forward(const Context& context, const Tensor& a, const Tensor& b) {
  check(a.shape().rank() == 4 && b.shape().rank() == 4 && a.rows() == b.rows(), "concat_channels: [B, H, W, C]");
  return context.backend->concat_channels_forward(context, a, b);
}

void concat_channels_backward(const Context& context, const Tensor& dy, const Shape& shape_a, const Shape& shape_b,
                              Tensor* da, Tensor* db) {
  context.backend->concat_channels_backward(context, dy, shape_a, shape_b, da, db);
}

Var concat_channels(Tape& tape, const Var& a, const Var& b) {
  const Context& context = tape.context();
  Var y = tape.result(concat_channels_forward(context, a.value(), b.value()), a.requires_grad() || b.requires_grad());
  if (y.requires_grad())
    tape.record([&context, shape_a = a.shape(), shape_b = b.shape(), ga = a.gradient(), gb = b.gradient(),
                 dy = y.gradient()] {
      if (!dy->tensor.defined()) return;
      const Tensor gradient = std::exchange(dy->tensor, Tensor());
      Tensor da, db;
      concat_channels_backward(context, gradient, shape_a, shape_b, ga ? &da : nullptr, gb ? &db : nullptr);
      Tape::accumulate(context, ga, std::move(da));
      Tape::accumulate(context, gb, std::move(db));
    });
  return y;
}

}  // namespace cones
