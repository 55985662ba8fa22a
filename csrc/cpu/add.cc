#include "cpu/backend.h"
#include "cpu/kernels/kernels.h"

namespace cones {
namespace {

constexpr index_t kGrain = 1 << 16;  // elements; about what waking a thread costs

}  // namespace

void Cpu::add(const Context&, const Tensor& a, const Tensor& b, const Tensor& y) const {
  parallel(y.size(), kGrain, [&](index_t begin, index_t end, int) {
    kernels().vector->add(end - begin, a.host() + begin, b.host() + begin, y.host() + begin);
  });
}

}  // namespace cones
