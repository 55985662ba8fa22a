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

class Tape;
class Var;

/// What backward computes again rather than keeping it.
enum class Checkpointing {
  none,
  light,   // norms and projections within transformer blocks; results are the same to the bit
  layers,  // every layer of the UNet; gradients of what several layers share are added in another order
};

/// Computes a value once more from what is kept anyway.
using Recipe = std::function<Var(Tape&)>;

/// A value that backward will read: the tensor, or the recipe by which it is made again, for as long as it is held.
class Kept {
 public:
  Kept() = default;
  bool defined() const { return recipe_ != nullptr || value_.defined(); }
  Tensor get(const Context& context) const;

 private:
  friend class Var;
  Tensor value_;
  std::shared_ptr<const Recipe> recipe_;
};

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

  /// Backward shall make this value again rather than keep it; only where a gradient is wanted, else nothing changes. The recipe
  /// must give the same bytes, and refer to nothing that ends before backward. Once reshaped it is kept after all.
  Var made_again(Recipe recipe) const;
  /// What an op's closure takes of a value that its gradient depends on.
  Kept kept() const;

 private:
  Tensor value_;
  GradientRef gradient_;
  std::shared_ptr<const Recipe> recipe_;
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
  Tape(const Context& context, ParameterGradients* parameters, Checkpointing checkpointing = Checkpointing::none)
      : context_(context), parameters_(parameters), recording_(true), checkpointing_(checkpointing) {}

  const Context& context() const { return context_; }
  bool recording() const { return recording_; }
  Checkpointing checkpointing() const { return checkpointing_; }
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
  /// Var::made_again where light checkpointing asks for it.
  Var light(const Var& made, Recipe recipe) const {
    return checkpointing_ == Checkpointing::light ? made.made_again(std::move(recipe)) : made;
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
  Checkpointing checkpointing_ = Checkpointing::none;
  std::vector<std::function<void()>> closures_;
};

}  // namespace cones
