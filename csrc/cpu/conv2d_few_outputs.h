// Convolutions to a handful of channels (the UNet's to 4, the autoencoder's to 3).
//
// As matrix products with N = O columns they would leave most of each vector empty. Here every tap has its own columns:
// P [pixels of x, taps · O] = x · W is one full product, and an output pixel is the sum of its taps' entries of P.
#pragma once

#include "cpu/conv2d_rows.h"
#include "cpu/gemm.h"

namespace cones {

/// Whether a filter [out, in, taps] is better computed so.
bool has_few_outputs(index_t in, index_t out, index_t taps);

struct FewOutputs {
  Map map;  // x
  index_t kernel_h, kernel_w, stride, pad_top, pad_left;
  index_t out_height, out_width, out_channels;
};

/// out [B, Ho, Wo, O] + epilogue; b: [I, taps · O], column (tap, o).
void convolve_few_outputs(const Context& context, const FewOutputs& shape, const float* data, const PackedMatrix& b,
                          float* out, const Epilogue& epilogue);

}  // namespace cones
