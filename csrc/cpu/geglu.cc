#include <algorithm>

#include "cpu/backend.h"
#include "cpu/kernels/kernels.h"

namespace cones {
namespace {

constexpr index_t kGrain = 1 << 14;  // elements of y

}  // namespace

Tensor Cpu::geglu_forward(const Context& context, const Tensor& x) const {
  const index_t channels = x.columns() / 2;
  Tensor y = context.empty(x.shape().with_last(channels));
  parallel(x.rows(), std::max<index_t>(kGrain / channels, 1), [&](index_t begin, index_t end, int) {
    for (index_t row = begin; row < end; ++row) {
      const float* value = x.host() + row * 2 * channels;
      kernels().vector->geglu(channels, value, value + channels, y.host() + row * channels);
    }
  });
  return y;
}

Tensor Cpu::geglu_backward(const Context& context, const Tensor& dy, const Tensor& x) const {
  const index_t channels = x.columns() / 2;
  Tensor dx = context.empty(x.shape());
  parallel(x.rows(), std::max<index_t>(kGrain / channels, 1), [&](index_t begin, index_t end, int) {
    for (index_t row = begin; row < end; ++row) {
      const float* value = x.host() + row * 2 * channels;
      float* dvalue = dx.host() + row * 2 * channels;
      kernels().vector->geglu_backward(channels, value, value + channels, dy.host() + row * channels, dvalue,
                                              dvalue + channels);
    }
  });
  return dx;
}

}  // namespace cones
