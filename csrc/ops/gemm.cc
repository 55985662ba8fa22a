#include "ops/gemm.h"

#include <algorithm>

#include "base/error.h"
#include "ops/gemm_blocks.h"

namespace cones {

void gemm(const Context& context, const float* a, index_t a_stride, index_t m, const PackedMatrix& b, float* out,
          index_t out_stride, const Epilogue& epilogue, const PackedMask* mask) {
  const auto rows = [=](index_t begin, index_t end, int, const float** table) {
    for (index_t row = begin; row < end; ++row) table[row - begin] = a + row * a_stride;
  };
  const PointedOperand operand{.m = m, .depth = b.k(), .first_k = {0}, .rows = rows, .stride = a_stride};
  multiply_blocks(context, operand, b, out, out_stride, epilogue, mask);
}

Tensor column_sums(const Context& context, const Tensor& x, index_t rows_per_group) {
  const index_t n = x.columns(), groups = x.rows() / rows_per_group;
  check(groups * rows_per_group == x.rows(), "column_sums takes whole groups");
  Tensor sums = context.empty({groups, n});
  if (context.planning()) return sums;
  constexpr index_t kColumns = 64;
  const index_t strips = (n + kColumns - 1) / kColumns;
  context.parallel(groups * strips, std::max<index_t>(1, (1 << 16) / (rows_per_group * kColumns)),
                   [&](index_t begin, index_t end, int) {
                     for (index_t i = begin; i < end; ++i) {
                       const index_t group = i / strips, first = i % strips * kColumns;
                       const index_t columns = std::min(kColumns, n - first);
                       const float* from = x.data() + group * rows_per_group * n + first;
                       double sum[kColumns] = {};
                       for (index_t row = 0; row < rows_per_group; ++row, from += n)
                         for (index_t j = 0; j < columns; ++j) sum[j] += static_cast<double>(from[j]);
                       std::copy_n(sum, columns, sums.data() + group * n + first);
                     }
                   });
  return sums;
}

Tensor column_sums(const Context& context, const Tensor& x) {
  return column_sums(context, x, x.rows()).reshape({x.columns()});
}

}  // namespace cones
