// 3×3 convolutions of stride 1 by Winograd's F(2×2, 3×3), with 16 multiplications for every 36, or F(4×4, 3×3), with 9.
//
// The transforms amplify rounding, those of F(4×4) more: over few channels its error is 3 to 5 times a direct sum's, over 256
// and more 2.5 times, and over a whole UNet of so many it adds nothing (docs/log/optimisation-log.md has the figures).
#pragma once

#include "cpu/conv2d_rows.h"
#include "cpu/gemm.h"

namespace cones {

/// Side m of the tiles of outputs with which F(m×m, 3×3) is faster than the direct way, and as accurate as it has to be, for
/// maps of this size: 2, 4, or 0 where none is. By measurement, and not by the number of threads.
/// `samples`: 1 where a sample's result must not depend on what else is in its batch, the batch where it may.
int winograd_tile(index_t samples, index_t channels, index_t out_channels, index_t out_height, index_t out_width);

/// out [B, Ho, Wo, O] = the correlation of `map` (padded by zeros at the top and left) with 3×3 filters, + epilogue, by tiles of
/// side `tile` (2 or 4).
/// b: [9 · C, O], row (tap, c); `flipped` turns the filters around, as the gradient of the input needs them.
/// `zeros`: at least C.
void winograd_convolve(const Context& context, int tile, const Map& map, const float* data, const float* zeros,
                       const PackedMatrix& b, bool flipped, index_t pad_top, index_t pad_left, index_t out_height,
                       index_t out_width, float* out, const Epilogue& epilogue);

}  // namespace cones
