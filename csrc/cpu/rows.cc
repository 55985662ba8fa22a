// Rows taken from, put into and added to batches.
#include <algorithm>
#include <cmath>
#include <functional>

#include "cpu/backend.h"
#include "cpu/kernels/kernels.h"

namespace cones {
namespace {

constexpr index_t kGrain = 1 << 16;  // elements copied or added

/// f(begin, end) for pieces of a row of `row` elements.
void for_each_piece(const Context& context, index_t row, std::size_t batch, const std::function<void(index_t, index_t)>& f) {
  const index_t grain = std::max<index_t>(kGrain / std::max<index_t>(static_cast<index_t>(batch), 1), 1);
  cpu_of(context).parallel(row, grain, [&](index_t begin, index_t end, int) { f(begin, end); });
}

}  // namespace

Tensor Cpu::choose_rows_forward(const Context& context, const Tensor& x, std::span<const int> source, const Tensor& rest) const {
  const index_t batch = static_cast<index_t>(source.size()), row = x.size() / x.dim(0);
  Tensor y = context.empty({batch, x.dim(1), x.dim(2)});
  for_each_piece(context, row, source.size(), [&](index_t begin, index_t end) {
    for (index_t b = 0; b < batch; ++b) {
      const int s = source[static_cast<std::size_t>(b)];
      const float* from = s < 0 ? rest.host() + b * row : x.host() + s * row;
      std::copy(from + begin, from + end, y.host() + b * row + begin);
    }
  });
  return y;
}

Tensor Cpu::choose_rows_backward(const Context& context, const Tensor& dy, std::span<const int> source, const Shape& shape) const {
  Tensor dx = context.zeros(shape);
  const index_t row = dx.size() / dx.dim(0);
  for_each_piece(context, row, source.size(), [&](index_t begin, index_t end) {
    for (std::size_t b = 0; b < source.size(); ++b) {
      if (source[b] < 0) continue;
      float* sum = dx.host() + source[b] * row + begin;
      kernels().vector->add(end - begin, sum, dy.host() + static_cast<index_t>(b) * row + begin, sum);
    }
  });
  return dx;
}

Tensor Cpu::rows_gradient(const Context& context, const Tensor& dy, std::span<const int> source, const Shape& shape) const {
  return choose_rows_backward(context, dy, source, shape);
}

void Cpu::add_rows(const Context&, const Tensor& y, const Tensor& x, std::span<const int> source) const {
  const index_t row = y.columns();
  parallel(static_cast<index_t>(source.size()), kGrain / row + 1, [&](index_t begin, index_t end, int) {
    for (index_t r = begin; r < end; ++r) {
      const int from = source[static_cast<std::size_t>(r)];
      float* to = y.host() + r * row;
      if (from >= 0) kernels().vector->add(row, x.host() + from * row, to, to);
    }
  });
}

Tensor Cpu::stack_rows(const Context& context, std::span<const Tensor> parts) const {
  index_t rows = 0;
  for (const Tensor& part : parts) rows += part.dim(0);
  Tensor out = context.empty(parts[0].shape().with_first(rows));
  float* to = out.host();
  for (const Tensor& part : parts) {
    parallel(part.size(), kGrain, [&, to](index_t begin, index_t end, int) {
      std::copy(part.host() + begin, part.host() + end, to + begin);
    });
    to += part.size();
  }
  return out;
}

Tensor Cpu::normalize_rows(const Context& context, const Tensor& x) const {
  Tensor y = context.empty(x.shape());
  const index_t columns = x.columns();
  parallel(x.rows(), kGrain / columns + 1, [&](index_t begin, index_t end, int) {
    for (index_t r = begin; r < end; ++r) {
      const float* from = x.host() + r * columns;
      double squares = 0;
      for (index_t c = 0; c < columns; ++c) squares += static_cast<double>(from[c]) * static_cast<double>(from[c]);
      const double length = std::sqrt(squares);
      std::transform(from, from + columns, y.host() + r * columns,
                     [length](float value) { return static_cast<float>(static_cast<double>(value) / length); });
    }
  });
  return y;
}

}  // namespace cones
