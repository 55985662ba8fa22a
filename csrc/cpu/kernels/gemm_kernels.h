// Inner loops of matrix multiplication for one instruction set.
//
// Within one call a result is one chain of multiply-adds over k in ascending order, from zero; what lies in C is added to
// the finished chain. So results depend on where a caller cuts k (shorter chains are more accurate), and on nothing else:
// not on the size of the tile, nor on how the work is spread over batches or threads.
#pragma once

#include <cstdint>

namespace cones {

/// A run of k indices: A and B for consecutive values of k (in a convolution, one tap of the filter).
struct GemmSegment {
  const float* const* a;  // one pointer per row of the tile: an implicit im2col, rows may lie anywhere
  const float* b;         // [depth][panel_width], 64-byte aligned
};

/// What later calls read and write, fetched into the caches while this one multiplies: a little at a time, because all at
/// once would keep the loads of the multiplication waiting. k beyond a segment's last whole interval fetches nothing.
struct GemmFetch {
  int interval = 0;                 // values of k between two fetches of rows, a multiple of 4
  const float* c = nullptr;         // the next tile of C, rows c_stride apart like this one's
  const float* residual = nullptr;  // and of the residual, the same; or null
  int rows = 0;                     // of these tiles
  int row_step = 0;                 // rows in an interval
  const float* b = nullptr;         // what is read next of one operand, as much as this call is to fetch of it
  std::int64_t b_step = 0;          // floats of it for each k
};

/// C[r][j] = Σ over segments and k of A[r][k] · B[k][j], then + C[r][j] where accumulating, + bias, + residual.
struct GemmTile {
  int rows;                            // 1 ≤ rows ≤ tile_rows
  int columns;                         // 1 ≤ columns ≤ panel_width; B beyond them is read but does not matter
  int segments;
  std::int64_t depth;                  // k per segment
  std::int64_t offset;                 // added to every pointer of A
  const GemmSegment* segment;
  float* c;
  std::int64_t c_stride;
  bool accumulate;
  const float* const* bias = nullptr;      // one pointer per row, or null
  const float* const* residual = nullptr;  // one pointer per row, or null; not C
  std::int64_t a_stride = 0;               // between the rows of A where all lie so, or 0
  const GemmFetch* fetch = nullptr;        // or null
};

struct GemmKernels {
  int panel_width;  // columns of one packed panel of B, a multiple of 8
  int tile_rows;    // most rows of A that one call takes

  void (*run)(const GemmTile& tile);

  /// `run` with B masked while it is loaded (y = x (M ⊙ W)ᵀ): bit j of the panel_width / 8 bytes at
  /// mask[k * panel_width / 8] is 1 where B[k][j] is kept. One segment.
  void (*run_masked)(const GemmTile& tile, const std::uint8_t* mask);

  /// Outer product for weight gradients: C[i][j] = Σ_m P[m][i] · Q[m][j] + (accumulate ? C : 0), i < rows ≤ tile_rows,
  /// j < columns ≤ panel_width. Strides are between rows; panel_width columns of Q are read.
  void (*outer)(int rows, int columns, std::int64_t depth, const float* p, std::int64_t p_stride, const float* q,
                std::int64_t q_stride, float* c, std::int64_t c_stride, bool accumulate);
};

}  // namespace cones
