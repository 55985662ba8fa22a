#include "ops/geglu.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "kernels/kernels.h"

namespace cones {
namespace {

constexpr index_t kGrain = 1 << 14;  // elements of y

Shape with_last(const Shape& shape, index_t last) {
  switch (shape.rank()) {
    case 1: return {last};
    case 2: return {shape[0], last};
    case 3: return {shape[0], shape[1], last};
    default: return {shape[0], shape[1], shape[2], last};
  }
}

}  // namespace

Tensor geglu_forward(const Context& context, const Tensor& x) {
  check(x.columns() % 2 == 0, "geglu: an even number of channels");
  const index_t channels = x.columns() / 2;
  Tensor y = context.empty(with_last(x.shape(), channels));
  if (context.planning()) return y;
  context.parallel(x.rows(), std::max<index_t>(kGrain / channels, 1), [&](index_t begin, index_t end, int) {
    for (index_t row = begin; row < end; ++row) {
      const float* value = x.data() + row * 2 * channels;
      context.kernels->vector->geglu(channels, value, value + channels, y.data() + row * channels);
    }
  });
  return y;
}

Tensor geglu_backward(const Context& context, const Tensor& dy, const Tensor& x) {
  const index_t channels = x.columns() / 2;
  Tensor dx = context.empty(x.shape());
  if (context.planning()) return dx;
  context.parallel(x.rows(), std::max<index_t>(kGrain / channels, 1), [&](index_t begin, index_t end, int) {
    for (index_t row = begin; row < end; ++row) {
      const float* value = x.data() + row * 2 * channels;
      float* dvalue = dx.data() + row * 2 * channels;
      context.kernels->vector->geglu_backward(channels, value, value + channels, dy.data() + row * channels, dvalue,
                                              dvalue + channels);
    }
  });
  return dx;
}

Var geglu(Tape& tape, const Var& x) {
  const Context& context = tape.context();
  Var y = tape.result(geglu_forward(context, x.value()), x.requires_grad());
  if (y.requires_grad())
    tape.record([&context, x = x.value(), dx = x.gradient(), dy = y.gradient()] {
      if (!dy->tensor.defined()) return;
      const Tensor gradient = std::exchange(dy->tensor, Tensor());
      Tape::accumulate(context, dx, geglu_backward(context, gradient, x));
    });
  return y;
}

}  // namespace cones
