// 2-D convolution as torch.nn.Conv2d (a cross-correlation), channels-last.
#pragma once

#include "library.h"

namespace cones::cuda {

/// Ho = (H + pad_top + pad_bottom − kernel_h) / stride + 1, and Wo likewise, are at least 1; the padding is zero.
/// Any sizes, as long as x and y have fewer than 2³⁰ pixels and taps · I and taps · O are below 2³⁰.
struct Conv2dShape {
  int64_t batch, height, width, in;  // x [B, H, W, I]
  int64_t out;                       // y [B, Ho, Wo, O]
  int64_t kernel_h = 1, kernel_w = 1, stride = 1;
  int64_t pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
};
inline int64_t conv2d_out_height(const Conv2dShape& s) {
  return (s.height + s.pad_top + s.pad_bottom - s.kernel_h) / s.stride + 1;
}
inline int64_t conv2d_out_width(const Conv2dShape& s) {
  return (s.width + s.pad_left + s.pad_right - s.kernel_w) / s.stride + 1;
}

/// Weights as they are in a file, in device memory, to what the functions below read; the two do not overlap.
struct Conv2dPackArgs {
  int64_t out, in, taps;  // taps = kernel_h · kernel_w
  Type from_type;         // f32, f16 or bf16
  const void* from;       // [O, I, kernel_h, kernel_w]
  Type type;              // f16 or bf16
  void* to;               // [O, taps, I]
};
int conv2d_pack(Stream*, const Conv2dPackArgs&);

/// y = convolution of x + bias + residual + group_bias. T is `type`: f16 or bf16.
struct Conv2dForwardArgs {
  Type type;
  Type x_type;  // T; or f32 where I ≤ kConv2dFewChannels, for the first convolution of a model
  Type y_type;  // T; or f32 for the last one
  Conv2dShape shape;
  const void* x;           // [B, H, W, I]
  const void* weight;      // T [O, taps, I]
  const float* bias;       // [O], or null
  const void* residual;    // T [B, Ho, Wo, O], or null; may be y itself
  const void* group_bias;  // T [B, O], or null: the same for every pixel of a batch row (a resnet's time embedding)
  void* y;                 // [B, Ho, Wo, O]
  float* scratch;          // conv2d_forward_scratch() floats, aligned to 16 bytes; null where that is 0
};
int64_t conv2d_forward_scratch(const Conv2dShape&);
int conv2d_forward(Stream*, const Conv2dForwardArgs&);

/// dx, all of it written, from the forward's weights.
struct Conv2dBackwardInputArgs {
  Type type;
  Conv2dShape shape;
  const void* dy;      // T [B, Ho, Wo, O]
  const void* weight;  // T [O, taps, I]
  void* dx;            // T [B, H, W, I]
  float* scratch;      // conv2d_backward_input_scratch() floats, aligned to 16 bytes; null where that is 0
};
int64_t conv2d_backward_input_scratch(const Conv2dShape&);
int conv2d_backward_input(Stream*, const Conv2dBackwardInputArgs&);

/// dW = scale · Σ over the pixels of all batch rows of dy · x. `scale` takes out a loss scale.
struct Conv2dBackwardWeightArgs {
  Type type;
  Conv2dShape shape;
  const void* dy;  // T [B, Ho, Wo, O]
  const void* x;   // T [B, H, W, I]
  float scale;
  float* scratch;  // conv2d_backward_weight_scratch() floats; null where that is 0
  float* dw;       // [O, I, kernel_h, kernel_w]
};
int64_t conv2d_backward_weight_scratch(const Conv2dShape&);
int conv2d_backward_weight(Stream*, const Conv2dBackwardWeightArgs&);

/// Up to so many channels on one side make a convolution one of plain multiply-adds instead of tensor-core products.
constexpr int64_t kConv2dFewChannels = 16;

}  // namespace cones::cuda
