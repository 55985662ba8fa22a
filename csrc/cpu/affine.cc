#include "base/error.h"
#include "cpu/backend.h"

namespace cones {
namespace {

constexpr index_t kGrain = 1 << 16;  // elements

}  // namespace

Tensor Cpu::affine(const Context& context, const Tensor& x, float a, float b) const {
  Tensor y = context.empty(x.shape());
  parallel(x.size(), kGrain, [&](index_t begin, index_t end, int) {
    for (index_t i = begin; i < end; ++i) y.host()[i] = a * x.host()[i] + b;
  });
  return y;
}

Tensor Cpu::cast(const Context& context, const Tensor& x, DType dtype, float factor) const {
  check(dtype == DType::f32, "the CPU computes in fp32");
  return factor == 1 ? x : affine(context, x, factor, 0);
}

}  // namespace cones
