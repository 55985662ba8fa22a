// Linear layers as torch.nn.Linear: y = x Wᵀ + b.
#pragma once

#include "ops/gemm.h"
#include "ops/tape.h"

namespace cones {

/// The packed weights of one layer. Movable; the parameters must outlive it.
class LinearWeights {
 public:
  /// weight [N, K], or a 1×1 convolution's [N, K, 1, 1]; bias [N] or null. Read here as fp32 and packed panel by panel:
  /// no unpacked copy is kept.
  LinearWeights(const Context& context, const Parameter* weight, const Parameter* bias);

  index_t in() const { return in_; }
  index_t out() const { return out_; }
  const Parameter* weight() const { return weight_; }
  const Parameter* bias() const { return bias_; }

  /// Wᵀ as B [K, N].
  const PackedMatrix& forward() const { return forward_; }
  /// W as B [N, K], for gradients of the input. Packed on first use, then kept.
  PackedMatrix backward(const Context& context) const { return backward_.get(context); }
  /// [N], undefined without a bias.
  const Tensor& bias_values() const { return bias_values_; }

 private:
  const Parameter *weight_, *bias_;
  index_t in_, out_;
  PackedMatrix forward_;
  LazyPackedMatrix backward_;
  Tensor bias_values_;
};

/// y [..., N] for x [..., K]; + residual [..., N] where given.
Tensor linear_forward(const Context& context, const Tensor& x, const LinearWeights& weights,
                      const Tensor* residual = nullptr);
/// dx [..., K] for dy [..., N]; + `onto` [..., K], what the input's gradient is so far, where defined.
Tensor linear_backward_input(const Context& context, const Tensor& dy, const LinearWeights& weights,
                             const Tensor& onto = {});

Var linear(Tape& tape, const Var& x, const LinearWeights& weights, const Var* residual = nullptr);

}  // namespace cones
