// A job is its own memory plan: its recipe runs in a context in which nothing is computed and memory is only counted.
//
// A recipe is a function (context, model, input) → result. It reads its input through ops/transfer.h, so that a plan's input
// needs no floats, only sizes. What it returns is held when it has ended, and counts.
#pragma once

#include <type_traits>

#include "model/model.h"

namespace cones::jobs {

struct Plan {
  std::size_t peak;  // bytes, the inputs' included
  std::size_t held;  // of them by the result
};

template <class F>
Plan plan_of(const Context& job, const F& recipe) {
  const Context context = job.plan();
  const auto result = recipe(context);
  return {context.memory->peak(), context.memory->in_use()};
}

template <class Result, class Input>
using Recipe = Result (*)(const Context&, const Model&, const Input&);

template <class Result, class Input>
Plan plan(Recipe<Result, Input> recipe, const Model& model, const std::type_identity_t<Input>& input) {
  return plan_of(model.context(nullptr), [&](const Context& context) { return recipe(context, model, input); });
}

/// Runs the recipe when its memory is sure to be there; Model::require_memory's error when it is not.
template <class Result, class Input>
Result run(Recipe<Result, Input> recipe, const Model& model, const std::type_identity_t<Input>& input,
           const std::atomic<bool>& aborted) {
  model.require_memory(plan(recipe, model, input).peak);
  return recipe(model.context(&aborted), model, input);
}

}  // namespace cones::jobs
