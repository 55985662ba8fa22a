#include "ops/tape.h"

#include "base/error.h"
#include "device/backend.h"
#include "ops/add.h"

namespace cones {

Var Var::reshape(const Shape& shape) const {
  Var view = *this;
  view.value_ = value_.reshape(shape);
  view.recipe_ = nullptr;
  return view;
}

Var Var::made_again(Recipe recipe) const {
  Var made = *this;
  if (requires_grad()) made.recipe_ = std::make_shared<const Recipe>(std::move(recipe));
  return made;
}

Kept Var::kept() const {
  Kept kept;
  if (recipe_ != nullptr)
    kept.recipe_ = recipe_;
  else
    kept.value_ = value_;
  return kept;
}

Tensor Kept::get(const Context& context) const {
  if (recipe_ == nullptr) return value_;
  Tape plain(context);
  return (*recipe_)(plain).value();
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
  std::vector<std::pair<Kept, GradientRef>> kept;
  for (const Var& input : inputs) kept.emplace_back(input.kept(), input.gradient());
  record([this, kept, block, dy = out.gradient()] {
    if (!dy->tensor.defined()) return;
    Tape inner(context_, parameters_);
    std::vector<Var> again;
    for (const auto& [input, gradient] : kept) again.emplace_back(input.get(context_), gradient != nullptr);
    Var output = block(inner, again);
    if (output.requires_grad()) accumulate(context_, output.gradient(), dy->tensor);
    dy->tensor = Tensor();
    inner.backward();
    for (std::size_t i = 0; i < kept.size(); ++i)
      if (kept[i].second) accumulate(context_, kept[i].second, again[i].gradient()->tensor);
  });
  return out;
}

}  // namespace cones
