#include "ops/upsample.h"

#include <utility>

#include "base/error.h"
#include "device/backend.h"

namespace cones {

Tensor upsample_nearest_forward(const Context& context, const Tensor& x, index_t out_h, index_t out_w) {
  check(x.shape().rank() == 4 && out_h > 0 && out_w > 0, "upsample_nearest: [B, H, W, C] to a size of at least 1");
  return context.backend->upsample_nearest_forward(context, x, out_h, out_w);
}

Tensor upsample_nearest_backward(const Context& context, const Tensor& dy, const Shape& shape_x) {
  return context.backend->upsample_nearest_backward(context, dy, shape_x);
}

Var upsample_nearest(Tape& tape, const Var& x, index_t out_h, index_t out_w) {
  const Context& context = tape.context();
  Var y = tape.result(upsample_nearest_forward(context, x.value(), out_h, out_w), x.requires_grad());
  if (y.requires_grad())
    tape.record([&context, shape_x = x.shape(), shape_y = y.shape(), dx = x.gradient(), dy = y.gradient()] {
      if (!dy->tensor.defined()) return;
      const Tensor gradient = std::exchange(dy->tensor, Tensor()).reshape(shape_y);
      Tape::accumulate(context, dx, upsample_nearest_backward(context, gradient, shape_x));
    });
  return y;
}

}  // namespace cones
