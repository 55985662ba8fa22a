// 2-D convolution as torch.nn.Conv2d (a cross-correlation), channels-last.
#pragma once

#include "ops/gemm.h"
#include "ops/tape.h"

namespace cones {

/// Ho = (H + pad_top + pad_bottom − kh) / stride + 1, and Wo likewise; the padding is zero.
struct Conv2dOptions {
  int stride = 1;
  int pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
};

/// The packed weights of one convolution. Movable; the parameters must outlive it.
class ConvWeights {
 public:
  /// weight [O, I, kh, kw], bias [O] or null.
  ConvWeights(const Context& context, const Parameter* weight, const Parameter* bias);

  index_t in() const { return in_; }
  index_t out() const { return out_; }
  index_t kernel_h() const { return kernel_h_; }
  index_t kernel_w() const { return kernel_w_; }
  index_t taps() const { return kernel_h_ * kernel_w_; }
  const Parameter* weight() const { return weight_; }
  const Parameter* bias() const { return bias_; }

  /// B [taps · I, O]: row (tap, i) holds W[·, i, tap]. With few outputs (conv2d_few_outputs.h) B [I, taps · O]: column
  /// (tap, o) holds W[o, ·, tap].
  const PackedMatrix& forward() const { return forward_; }
  /// B [taps · O, I]: row (tap, o) holds W[o, ·, tap]. Packed on first use, then kept.
  PackedMatrix backward(const Context& context) const { return backward_.get(context); }
  /// [O], undefined without a bias.
  const Tensor& bias_values() const { return bias_values_; }

 private:
  const Parameter *weight_, *bias_;
  index_t in_, out_, kernel_h_, kernel_w_;
  PackedMatrix forward_;
  LazyPackedMatrix backward_;
  Tensor bias_values_;
};

/// y [B, Ho, Wo, O] for x [B, H, W, I]; + residual (shaped like y) and + group_bias [B, O] (the same for every pixel of
/// a batch row: the time embedding of a resnet) where given.
Tensor conv2d_forward(const Context& context, const Tensor& x, const ConvWeights& weights,
                      const Conv2dOptions& options, const Tensor* residual = nullptr,
                      const Tensor* group_bias = nullptr);
/// dx, of `shape` [B, H, W, I], for dy [B, Ho, Wo, O].
Tensor conv2d_backward_input(const Context& context, const Tensor& dy, const ConvWeights& weights,
                             const Conv2dOptions& options, const Shape& shape);
/// dW [O, I, kh, kw].
Tensor conv2d_backward_weight(const Context& context, const Tensor& dy, const Tensor& x, const ConvWeights& weights,
                              const Conv2dOptions& options);

Var conv2d(Tape& tape, const Var& x, const ConvWeights& weights, const Conv2dOptions& options,
           const Var* residual = nullptr, const Var* group_bias = nullptr);

}  // namespace cones
