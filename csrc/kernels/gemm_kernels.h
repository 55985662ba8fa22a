// Inner loops of matrix multiplication for one instruction set.
#pragma once

#include <cstdint>

namespace cones {

struct GemmKernels {
  int panel_width;  // columns of one packed panel of B
  int tile_rows;    // most rows of A that one call of `tile` takes

  /// C[r][0, columns) = (accumulate ? C : 0) + Σ_k A[r][k] · B[k][0, columns), for r < rows ≤ tile_rows.
  /// a: one pointer per row (an implicit im2col: rows may lie anywhere), each with `depth` consecutive floats.
  /// b: one packed panel [depth][panel_width], 64-byte aligned, columns beyond `columns` zero.
  /// Each element is one chain of fused multiply-adds over k in ascending order, whatever the tile's size, so results
  /// do not depend on how the work is cut into tiles, batches or threads.
  void (*tile)(int rows, std::int64_t depth, const float* const* a, const float* b, float* c, std::int64_t c_stride,
               int columns, bool accumulate);

  /// The same with B masked while it is loaded (y = x (M ⊙ W)ᵀ, DESIGN "Masks are data"): bit j of
  /// mask[k * panel_width / 8 ...] is 1 where B[k][j] is kept.
  void (*tile_masked)(int rows, std::int64_t depth, const float* const* a, const float* b, const std::uint8_t* mask,
                      float* c, std::int64_t c_stride, int columns, bool accumulate);

  /// Outer product for weight gradients: C[i][j] = (accumulate ? C : 0) + Σ_m P[m][i] · Q[m][j], i < rows ≤ tile_rows,
  /// j < columns ≤ panel_width; P and Q are row-major with the given strides.
  void (*outer)(int rows, int columns, std::int64_t depth, const float* p, std::int64_t p_stride, const float* q,
                std::int64_t q_stride, float* c, std::int64_t c_stride, bool accumulate);
};

}  // namespace cones
