#include <algorithm>

#include "base/error.h"
#include "cpu/backend.h"

namespace cones {

// In double.
Tensor Cpu::column_sums(const Context& context, const Tensor& x, index_t rows_per_group) const {
  const index_t n = x.columns(), groups = x.rows() / rows_per_group;
  check(groups * rows_per_group == x.rows(), "column_sums takes whole groups");
  Tensor sums = context.empty({groups, n});
  constexpr index_t kColumns = 64;
  const index_t strips = (n + kColumns - 1) / kColumns;
  parallel(groups * strips, std::max<index_t>(1, (1 << 16) / (rows_per_group * kColumns)),
                   [&](index_t begin, index_t end, int) {
                     for (index_t i = begin; i < end; ++i) {
                       const index_t group = i / strips, first = i % strips * kColumns;
                       const index_t columns = std::min(kColumns, n - first);
                       const float* from = x.host() + group * rows_per_group * n + first;
                       double sum[kColumns] = {};
                       for (index_t row = 0; row < rows_per_group; ++row, from += n)
                         for (index_t j = 0; j < columns; ++j) sum[j] += static_cast<double>(from[j]);
                       std::copy_n(sum, columns, sums.host() + group * n + first);
                     }
                   });
  return sums;
}

Tensor Cpu::bias_gradient(const Context& context, const Tensor& dy) const {
  return column_sums(context, dy, dy.rows()).reshape({dy.columns()});
}

}  // namespace cones
