#include "cpu/gemm.h"

#include "cpu/gemm_blocks.h"

namespace cones {

void gemm(const Context& context, const float* a, index_t a_stride, index_t m, const PackedMatrix& b, float* out,
          index_t out_stride, const Epilogue& epilogue, const PackedMask* mask) {
  const auto rows = [=](index_t begin, index_t end, int, const float** table) {
    for (index_t row = begin; row < end; ++row) table[row - begin] = a + row * a_stride;
  };
  const PointedOperand operand{.m = m, .depth = b.k(), .first_k = {0}, .rows = rows, .stride = a_stride};
  multiply_blocks(context, operand, b, out, out_stride, epilogue, mask);
}

}  // namespace cones
