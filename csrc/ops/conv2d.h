// 2-D convolution as torch.nn.Conv2d (a cross-correlation), channels-last.
#pragma once

#include <optional>

#include "device/backend.h"
#include "ops/tape.h"

namespace cones {

/// The weights of one convolution, as the backend reads them. Movable; the parameters must outlive it.
class ConvWeights {
 public:
  /// weight [O, I, kh, kw], bias [O] or null.
  ConvWeights(const Context& context, const Parameter* weight, const Parameter* bias);

  index_t in() const { return weight_->shape[1]; }
  index_t out() const { return weight_->shape[0]; }
  index_t kernel_h() const { return weight_->shape[2]; }
  index_t kernel_w() const { return weight_->shape[3]; }
  const Parameter* weight() const { return weight_; }
  const Parameter* bias() const { return bias_; }
  const Prepared& prepared() const { return *prepared_; }

 private:
  const Parameter *weight_, *bias_;
  PreparedRef prepared_;
};

/// y [B, Ho, Wo, O] for x [B, H, W, I]; + residual (shaped like y) and + group_bias [B, O] (the same for every pixel of
/// a batch row: the time embedding of a resnet) where given.
/// `dtype`: of y, that of activations unless told otherwise.
Tensor conv2d_forward(const Context& context, const Tensor& x, const ConvWeights& weights,
                      const Conv2dOptions& options, const Tensor* residual = nullptr,
                      const Tensor* group_bias = nullptr, std::optional<DType> dtype = {});
/// dx, of `shape` [B, H, W, I], for dy [B, Ho, Wo, O].
Tensor conv2d_backward_input(const Context& context, const Tensor& dy, const ConvWeights& weights,
                             const Conv2dOptions& options, const Shape& shape);
/// dW [O, I, kh, kw].
Tensor conv2d_backward_weight(const Context& context, const Tensor& dy, const Tensor& x, const ConvWeights& weights,
                              const Conv2dOptions& options);

Var conv2d(Tape& tape, const Var& x, const ConvWeights& weights, const Conv2dOptions& options,
           const Var* residual = nullptr, const Var* group_bias = nullptr, std::optional<DType> dtype = {});

}  // namespace cones
