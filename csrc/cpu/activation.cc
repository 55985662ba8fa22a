#include "cpu/backend.h"
#include "cpu/kernels/kernels.h"

namespace cones {
namespace {

constexpr index_t kGrain = 1 << 15;  // elements

}  // namespace

Tensor Cpu::activation_forward(const Context& context, const Tensor& x, Activation activation) const {
  Tensor y = context.empty(x.shape());
  parallel(x.size(), kGrain, [&](index_t begin, index_t end, int) {
    kernels().vector->activation(activation, end - begin, x.host() + begin, y.host() + begin);
  });
  return y;
}

Tensor Cpu::activation_backward(const Context& context, const Tensor& dy, const Tensor& x, Activation activation) const {
  Tensor dx = context.empty(x.shape());
  parallel(x.size(), kGrain, [&](index_t begin, index_t end, int) {
    kernels().vector->activation_backward(activation, end - begin, x.host() + begin, dy.host() + begin,
                                                 dx.host() + begin);
  });
  return dx;
}

}  // namespace cones
