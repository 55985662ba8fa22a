// The three transforms of Winograd's minimal filtering F(m×m, 3×3) for one instruction set (Lavin & Gray, Fast Algorithms
// for Convolutional Neural Networks, 2016): m×m outputs Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A from n×n inputs d, n = m + 2, take
// n² multiplications instead of 9 m². All run over channels; index ξ of the n² products is n · row + column.
#pragma once

#include <cstdint>

namespace cones {

struct WinogradTransforms {
  /// V = Bᵀ d B: d[ξ] + offset is the pixel (row, column) of the tile, [channels]; to v + ξ · stride.
  void (*input)(std::int64_t channels, const float* const* d, std::int64_t offset, float* v, std::int64_t stride);

  /// U = G g Gᵀ: tap t (3 · row + column) lies at g + t · tap_stride, [count]; to u + ξ · stride. A negative tap_stride,
  /// from the last tap, turns the filter around.
  void (*filter)(std::int64_t count, const float* g, std::int64_t tap_stride, float* u, std::int64_t stride);

  /// Y = Aᵀ M A + bias + group_bias + residual (each may be null) from m + ξ · stride, [channels]; pixel m · row + column
  /// goes to y[pixel], or nowhere where that is null.
  void (*output)(std::int64_t channels, const float* m, std::int64_t stride, const float* bias, const float* group_bias,
                 const float* const* residual, float* const* y);
};

struct WinogradKernels {
  WinogradTransforms f2;  // F(2×2, 3×3): 16 multiplications for 36
  WinogradTransforms f4;  // F(4×4, 3×3): 36 multiplications for 144
};

}  // namespace cones
