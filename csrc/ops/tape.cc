#include "ops/tape.h"

#include "base/error.h"
#include "device/backend.h"
#include "ops/add.h"

namespace cones {

Var Var::reshape(const Shape& shape) const {
  Var view = *this;
  view.value_ = value_.reshape(shape);
  return view;
}

void ParameterGradients::add_outer(const Context& context, const Parameter& parameter, const Tensor& x,
                                   const Tensor& dy) {
  add(context, parameter, context.backend->outer(context, dy, x).reshape(parameter.shape));
}

void Tape::adapt(const AdapterRows& rows) {
  check(!recording_ || rows.empty(), "nothing has gradients through adapters");
  adapters_ = rows.empty() ? nullptr : &rows;
}

void Tape::backward() {
  while (!closures_.empty()) {
    context_.check_aborted();
    auto closure = std::move(closures_.back());
    closures_.pop_back();
    closure();
  }
}

void Tape::accumulate(const Context& context, const GradientRef& gradient, Tensor contribution) {
  if (gradient == nullptr || !contribution.defined()) return;
  if (!gradient->tensor.defined()) {
    gradient->tensor = std::move(contribution);
    return;
  }
  check(gradient->tensor.size() == contribution.size(), "gradient contributions have one size");
  gradient->tensor = add_onto(context, gradient->tensor, std::move(contribution));
}

Var Tape::checkpoint(const std::vector<Var>& inputs,
                     const std::function<Var(Tape&, const std::vector<Var>&)>& block) {
  if (!recording_) return block(*this, inputs);
  Tape plain(context_);
  std::vector<Var> detached;
  for (const Var& input : inputs) detached.emplace_back(input.value());
  Var out = result(block(plain, detached).value(), true);
  record([this, inputs, block, dy = out.gradient()] {
    if (!dy->tensor.defined()) return;
    Tape inner(context_, parameters_);
    std::vector<Var> again;
    for (const Var& input : inputs) again.emplace_back(input.value(), input.requires_grad());
    Var output = block(inner, again);
    if (output.requires_grad()) accumulate(context_, output.gradient(), dy->tensor);
    dy->tensor = Tensor();
    inner.backward();
    for (std::size_t i = 0; i < inputs.size(); ++i)
      if (inputs[i].requires_grad()) accumulate(context_, inputs[i].gradient(), again[i].gradient()->tensor);
  });
  return out;
}

}  // namespace cones
