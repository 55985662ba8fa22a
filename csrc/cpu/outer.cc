#include <algorithm>

#include "cpu/gemm.h"

namespace cones {

Tensor Cpu::outer(const Context& context, const Tensor& dy, const Tensor& x) const {
  Tensor out = context.empty({dy.columns(), x.columns()});
  gemm_outer_tiles(context, dy, x,
                   [&](index_t row, index_t rows, index_t column, index_t columns, const float* tile, index_t stride,
                       int) {
                     for (index_t r = 0; r < rows; ++r)
                       std::copy_n(tile + r * stride, columns, out.host() + (row + r) * out.columns() + column);
                   });
  return out;
}

}  // namespace cones
