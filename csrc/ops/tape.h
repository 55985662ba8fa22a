// Reverse-mode automatic differentiation.
//
// Every op is a pair of plain functions on tensors (<op>_forward, <op>_backward) and a wrapper that takes a Tape and Vars:
// the wrapper runs forward and, when somebody wants a gradient, records a closure that runs backward. A model is written
// once, with the wrappers, and serves inference (nothing is recorded, activations die with their last Var) and gradients.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "device/context.h"
#include "base/parameter.h"
#include "ops/adapter.h"

namespace cones {

/// The gradient of one Var, filled during backward. Closures hold this and not the Var, so that values die early.
struct Gradient {
  Tensor tensor;  // undefined until the first contribution
};
using GradientRef = std::shared_ptr<Gradient>;

/// A tensor in the computation; it has a gradient slot only where a gradient is wanted.
class Var {
 public:
  Var() = default;
  explicit Var(Tensor value, bool requires_grad = false)
      : value_(std::move(value)), gradient_(requires_grad ? std::make_shared<Gradient>() : nullptr) {}

  bool defined() const { return value_.defined(); }
  const Tensor& value() const { return value_; }
  const Shape& shape() const { return value_.shape(); }
  bool requires_grad() const { return gradient_ != nullptr; }
  /// Null where no gradient is wanted.
  const GradientRef& gradient() const { return gradient_; }
  /// Same storage and gradient, other shape: gradients are shaped like the Var that produced them, so ops treat them
  /// as flat memory with the shape of their own output.
  Var reshape(const Shape& shape) const;

 private:
  Tensor value_;
  GradientRef gradient_;
};

/// What the caller wants gradients of, and where they go. One implementation stores them (conceptGradient), the concept
/// search turns them into updates of ξ without ever storing them.
class ParameterGradients {
 public:
  virtual ~ParameterGradients() = default;
  virtual bool wants(const Parameter& parameter) const = 0;
  /// gradient: shaped like the parameter; contributions of one parameter add up.
  virtual void add(const Context& context, const Parameter& parameter, const Tensor& gradient) = 0;
  /// The weight gradient of a linear layer, dW [N, K] = dyᵀ x for x [M, K], dy [M, N]. The default computes it
  /// and calls add().
  virtual void add_outer(const Context& context, const Parameter& parameter, const Tensor& x, const Tensor& dy);
};

class Tape {
 public:
  /// Inference: nothing is recorded.
  explicit Tape(const Context& context) : context_(context) {}
  /// Recording. `parameters` may be null when only gradients of inputs are wanted.
  Tape(const Context& context, ParameterGradients* parameters)
      : context_(context), parameters_(parameters), recording_(true) {}

  const Context& context() const { return context_; }
  bool recording() const { return recording_; }
  bool wants(const Parameter* parameter) const {
    return recording_ && parameters_ != nullptr && parameter != nullptr && parameters_->wants(*parameter);
  }
  ParameterGradients* parameters() const { return parameters_; }

  /// What adapters add to the layers of each batch row from here on; `rows` must live as long as the tape. Inference alone.
  void adapt(const AdapterRows& rows);
  /// y += what the adapters add to a layer for x: every op that has weights asks here. `options`: of a convolution.
  void add_changes(const Parameter* layer, const Tensor& x, const Tensor& y, const Conv2dOptions* options = nullptr) const {
    if (adapters_ != nullptr && layer != nullptr) cones::add_changes(context_, *adapters_, *layer, x, options, y);
  }

  /// The result of an op: it requires a gradient when recording and `wanted` (some input or parameter requires one).
  Var result(Tensor value, bool wanted) const { return Var(std::move(value), recording_ && wanted); }
  /// Closures run in reverse order of recording, each once, and are freed as they go.
  void record(std::function<void()> backward) { closures_.push_back(std::move(backward)); }

  /// Runs backward from outputs whose gradients have been set with accumulate().
  void backward();

  /// Adds a contribution to a gradient (no-op for null). Never writes to `contribution`'s storage while it is shared.
  static void accumulate(const Context& context, const GradientRef& gradient, Tensor contribution);

  /// Gradient checkpointing: runs `block` without recording, keeps only its inputs, and runs it again, recorded, when
  /// backward reaches it. Trades one more forward of the block for its activations.
  Var checkpoint(const std::vector<Var>& inputs,
                 const std::function<Var(Tape&, const std::vector<Var>&)>& block);

 private:
  const Context& context_;
  ParameterGradients* parameters_ = nullptr;
  const AdapterRows* adapters_ = nullptr;  // null: none
  bool recording_ = false;
  std::vector<std::function<void()>> closures_;
};

}  // namespace cones
