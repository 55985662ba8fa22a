// Linear layers as torch.nn.Linear: y = x Wᵀ + b.
#pragma once

#include <optional>

#include "device/backend.h"
#include "ops/tape.h"

namespace cones {

/// The weights of one layer, as the backend reads them. Movable; the parameters must outlive it.
class LinearWeights {
 public:
  /// weight [N, K], or a 1×1 convolution's [N, K, 1, 1]; bias [N] or null.
  LinearWeights(const Context& context, const Parameter* weight, const Parameter* bias);

  index_t in() const { return in_; }
  index_t out() const { return out_; }
  const Parameter* weight() const { return weight_; }
  const Parameter* bias() const { return bias_; }
  const Prepared& prepared() const { return *prepared_; }
  const PreparedRef& shared() const { return prepared_; }

 private:
  const Parameter *weight_, *bias_;
  index_t in_, out_;
  PreparedRef prepared_;
};

/// y [..., N] for x [..., K]; + residual [..., N] where given. `dtype`: of y, that of activations unless told otherwise.
Tensor linear_forward(const Context& context, const Tensor& x, const LinearWeights& weights,
                      const Tensor* residual = nullptr, std::optional<DType> dtype = {});
/// dx [..., K] for dy [..., N]; + `onto` [..., K], what the input's gradient is so far, where defined.
Tensor linear_backward_input(const Context& context, const Tensor& dy, const LinearWeights& weights,
                             const Tensor& onto = {});

Var linear(Tape& tape, const Var& x, const LinearWeights& weights, const Var* residual = nullptr,
           std::optional<DType> dtype = {});

}  // namespace cones
