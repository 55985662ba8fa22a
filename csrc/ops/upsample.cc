#include "ops/upsample.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "base/error.h"
#include "kernels/kernels.h"

namespace cones {
namespace {

constexpr index_t kGrain = 1 << 16;  // elements

/// The source of every output position; in fp32, as PyTorch computes it, so that both round alike.
std::vector<index_t> sources(index_t in, index_t out) {
  const float scale = static_cast<float>(in) / static_cast<float>(out);
  std::vector<index_t> source(static_cast<std::size_t>(out));
  for (index_t i = 0; i < out; ++i)
    source[static_cast<std::size_t>(i)] =
        std::min(static_cast<index_t>(std::floor(static_cast<float>(i) * scale)), in - 1);
  return source;
}

}  // namespace

Tensor upsample_nearest_forward(const Context& context, const Tensor& x, index_t out_h, index_t out_w) {
  check(x.shape().rank() == 4 && out_h > 0 && out_w > 0, "upsample_nearest: [B, H, W, C] to a size of at least 1");
  const index_t batch = x.dim(0), h = x.dim(1), w = x.dim(2), channels = x.dim(3);
  Tensor y = context.empty({batch, out_h, out_w, channels});
  if (context.planning()) return y;
  const auto from_row = sources(h, out_h), from_column = sources(w, out_w);
  context.parallel(batch * out_h, std::max<index_t>(kGrain / (out_w * channels), 1),
                   [&](index_t begin, index_t end, int) {
                     for (index_t row = begin; row < end; ++row) {
                       const index_t b = row / out_h, i = from_row[static_cast<std::size_t>(row % out_h)];
                       const float* source = x.data() + (b * h + i) * w * channels;
                       float* target = y.data() + row * out_w * channels;
                       for (index_t j : from_column) {
                         std::memcpy(target, source + j * channels, static_cast<std::size_t>(channels) * sizeof(float));
                         target += channels;
                       }
                     }
                   });
  return y;
}

Tensor upsample_nearest_backward(const Context& context, const Tensor& dy, const Shape& shape_x) {
  const index_t batch = shape_x[0], h = shape_x[1], w = shape_x[2], channels = shape_x[3];
  const index_t out_h = dy.dim(1), out_w = dy.dim(2);
  Tensor dx = context.zeros(shape_x);
  if (context.planning()) return dx;
  const auto from_row = sources(h, out_h), from_column = sources(w, out_w);
  // One input row at a time: the output rows that read it are neighbours.
  context.parallel(batch * h, std::max<index_t>(kGrain / (w * channels), 1), [&](index_t begin, index_t end, int) {
    for (index_t row = begin; row < end; ++row) {
      const index_t b = row / h, i = row % h;
      const auto [first, last] = std::equal_range(from_row.begin(), from_row.end(), i);
      for (auto r = first; r != last; ++r) {
        const float* source = dy.data() + (b * out_h + (r - from_row.begin())) * out_w * channels;
        for (index_t j : from_column) {
          float* target = dx.data() + (row * w + j) * channels;
          context.kernels->vector->add(channels, target, source, target);
          source += channels;
        }
      }
    }
  });
  return dx;
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
