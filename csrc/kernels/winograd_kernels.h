// The three transforms of Winograd's minimal filtering F(2×2, 3×3) for one instruction set (Lavin & Gray, Fast Algorithms
// for Convolutional Neural Networks, 2016): 2×2 outputs Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A from 4×4 inputs d take 16
// multiplications instead of 36. All run over channels; index ξ of the 16 products is 4 · row + column.
#pragma once

#include <cstdint>

namespace cones {

struct WinogradKernels {
  /// V = Bᵀ d B: d[ξ] + offset is the pixel (row, column) of the tile, [channels]; to v + ξ · stride.
  void (*input)(std::int64_t channels, const float* const* d, std::int64_t offset, float* v, std::int64_t stride);

  /// U = G g Gᵀ: tap t (3 · row + column) lies at g + t · tap_stride, [count]; to u + ξ · stride. A negative tap_stride,
  /// from the last tap, turns the filter around.
  void (*filter)(std::int64_t count, const float* g, std::int64_t tap_stride, float* u, std::int64_t stride);

  /// Y = Aᵀ M A + bias + group_bias + residual (each may be null) from m + ξ · stride, [channels]; pixel 2 · row + column
  /// goes to y[pixel], or nowhere where that is null.
  void (*output)(std::int64_t channels, const float* m, std::int64_t stride, const float* bias, const float* group_bias,
                 const float* const* residual, float* const* y);
};

}  // namespace cones
