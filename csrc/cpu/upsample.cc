#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "cpu/backend.h"
#include "cpu/kernels/kernels.h"

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

Tensor Cpu::upsample_nearest_forward(const Context& context, const Tensor& x, index_t out_h, index_t out_w) const {
  const index_t batch = x.dim(0), h = x.dim(1), w = x.dim(2), channels = x.dim(3);
  Tensor y = context.empty({batch, out_h, out_w, channels});
  const auto from_row = sources(h, out_h), from_column = sources(w, out_w);
  parallel(batch * out_h, std::max<index_t>(kGrain / (out_w * channels), 1),
                   [&](index_t begin, index_t end, int) {
                     for (index_t row = begin; row < end; ++row) {
                       const index_t b = row / out_h, i = from_row[static_cast<std::size_t>(row % out_h)];
                       const float* source = x.host() + (b * h + i) * w * channels;
                       float* target = y.host() + row * out_w * channels;
                       for (index_t j : from_column) {
                         std::memcpy(target, source + j * channels, static_cast<std::size_t>(channels) * sizeof(float));
                         target += channels;
                       }
                     }
                   });
  return y;
}

Tensor Cpu::upsample_nearest_backward(const Context& context, const Tensor& dy, const Shape& shape_x) const {
  const index_t batch = shape_x[0], h = shape_x[1], w = shape_x[2], channels = shape_x[3];
  const index_t out_h = dy.dim(1), out_w = dy.dim(2);
  Tensor dx = context.zeros(shape_x);
  const auto from_row = sources(h, out_h), from_column = sources(w, out_w);
  // One input row at a time: the output rows that read it are neighbours.
  parallel(batch * h, std::max<index_t>(kGrain / (w * channels), 1), [&](index_t begin, index_t end, int) {
    for (index_t row = begin; row < end; ++row) {
      const index_t b = row / h, i = row % h;
      const auto [first, last] = std::equal_range(from_row.begin(), from_row.end(), i);
      for (auto r = first; r != last; ++r) {
        const float* source = dy.host() + (b * out_h + (r - from_row.begin())) * out_w * channels;
        for (index_t j : from_column) {
          float* target = dx.host() + (row * w + j) * channels;
          kernels().vector->add(channels, target, source, target);
          source += channels;
        }
      }
    }
  });
  return dx;
}

}  // namespace cones
