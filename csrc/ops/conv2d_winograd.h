// 3×3 convolutions of stride 1 with 16 multiplications for every 36: Winograd's F(2×2, 3×3).
//
// F(4×4, 3×3) would take 9 for every 36, but its transforms amplify rounding: 3 to 4 times PyTorch's error in fp32 whatever
// the interpolation points, where 2 is the limit. F(2×2) stays within it (docs/optimisation-log.md has the figures).
#pragma once

#include "ops/conv2d_rows.h"
#include "ops/gemm.h"

namespace cones {

/// Whether F(2×2) is faster than the direct way for maps of this size. By measurement; not by the batch or the number of
/// threads, so that results depend on neither.
bool winograd_pays(index_t channels, index_t out_channels, index_t out_height, index_t out_width);

/// out [B, Ho, Wo, O] = the correlation of `map` (padded by zeros at the top and left) with 3×3 filters, + epilogue.
/// b: [9 · C, O], row (tap, c); `flipped` turns the filters around, as the gradient of the input needs them.
/// `zeros`: at least C.
void winograd_convolve(const Context& context, const Map& map, const float* data, const float* zeros,
                       const PackedMatrix& b, bool flipped, index_t pad_top, index_t pad_left, index_t out_height,
                       index_t out_width, float* out, const Epilogue& epilogue);

}  // namespace cones
