#include "ops/choose_rows.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "base/error.h"
#include "kernels/kernels.h"

namespace cones {
namespace {

constexpr index_t kGrain = 1 << 16;  // elements copied or added

/// f(begin, end) for pieces of a row of `row` elements.
void for_each_piece(const Context& context, index_t row, std::size_t batch, const std::function<void(index_t, index_t)>& f) {
  const index_t grain = std::max<index_t>(kGrain / static_cast<index_t>(batch), 1);
  context.parallel(row, grain, [&](index_t begin, index_t end, int) { f(begin, end); });
}

}  // namespace

Tensor choose_rows_forward(const Context& context, const Tensor& x, const std::vector<int>& source, const Tensor& rest) {
  const index_t batch = static_cast<index_t>(source.size()), row = x.size() / x.dim(0);
  check(x.shape().rank() == 3 && (!rest.defined() || (rest.dim(0) == batch && rest.size() == batch * row)),
        "choose_rows: x [U, T, D] and rest [B, T, D]");
  check(std::ranges::all_of(source, [&](int s) { return (rest.defined() ? -1 : 0) <= s && s < x.dim(0); }), "rows of x");
  Tensor y = context.empty({batch, x.dim(1), x.dim(2)});
  if (context.planning()) return y;
  for_each_piece(context, row, source.size(), [&](index_t begin, index_t end) {
    for (index_t b = 0; b < batch; ++b) {
      const int s = source[static_cast<std::size_t>(b)];
      const float* from = s < 0 ? rest.data() + b * row : x.data() + s * row;
      std::copy(from + begin, from + end, y.data() + b * row + begin);
    }
  });
  return y;
}

Tensor choose_rows_backward(const Context& context, const Tensor& dy, const std::vector<int>& source, const Shape& shape) {
  Tensor dx = context.zeros(shape);
  if (context.planning()) return dx;
  const index_t row = dx.size() / dx.dim(0);
  for_each_piece(context, row, source.size(), [&](index_t begin, index_t end) {
    for (std::size_t b = 0; b < source.size(); ++b) {
      if (source[b] < 0) continue;
      float* sum = dx.data() + source[b] * row + begin;
      context.kernels->vector->add(end - begin, sum, dy.data() + static_cast<index_t>(b) * row + begin, sum);
    }
  });
  return dx;
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
