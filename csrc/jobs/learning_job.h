// A search or a training as jobs: its start, its steps, and the memory that it holds and shares between them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "jobs/latents.h"
#include "jobs/plan.h"
#include "jobs/training_data.h"

namespace cones::jobs {

/// The peak of a step of a LearningState, and what is held between steps. The first step packs backward's weights as it goes; all later
/// ones have them from the start.
template <class State, class Input, class Step>
Plan plan_steps(const Model& model, const Input& in, const Step& step) {
  return plan_of(model.context(nullptr), [&](const Context& context) {
    auto state = std::make_unique<State>(context, model, in);
    for (int i = 0; i < 2; ++i) step(context, *state);
    return state;
  });
}
template <class State, class Input>
Plan plan_steps(const Model& model, const Input& in) {
  return plan_steps<State>(model, in, [](const Context& context, State& state) { state.step(context); });
}

template <class State, class Input>
class LearningJob {
 public:
  const Model& model() const { return *model_; }
  const State& state() const { return *state_; }

  /// For steps to come: as long as the result lives, they are sure to fit. NotNow where they do not.
  std::shared_ptr<void> share_memory() const {
    // Backward packs its weights when it first needs them, and a search's step that ends there is half a step. Between this and the first
    // step's end remains a moment in which a change of the files does that.
    model_->check_unchanged();
    return model_->share_memory(still_to_hold_, step_bytes_);
  }
  SearchProgress step(const Context& context) {
    state_->check_whole();
    const SearchProgress progress = state_->step(context);
    still_to_hold_ = 0;
    return progress;
  }
  /// One step on an explicit batch, for goldens and researchers; not where identifiers are learned. NotNow where memory is short.
  StepResult update(const TrainingInput& in, const std::atomic<bool>& aborted) {
    state_->check_whole();
    model_->check_unchanged();  // as in share_memory()
    in.check();
    const Plan plan = plan_steps<State>(*model_, sizes_, [&](const Context& context, State& state) { state.update(context, *model_, in); });
    model_->require_memory(still_to_hold_ + plan.peak - plan.held);
    const StepResult result = state_->update(model_->context(&aborted), *model_, in);
    still_to_hold_ = 0;
    return result;
  }

  std::vector<std::byte> save() const {
    state_->check_whole();
    return state_->save(model_->context(nullptr));
  }
  void load(std::span<const std::byte> state) {
    state_->check_whole();
    state_->load(model_->context(nullptr), state);
  }

 protected:
  /// The start; `sizes`: the input of a state without pictures and identifiers, for plans of update(). NotNow where memory is short.
  LearningJob(std::shared_ptr<const Model> model, const Input& in, Input sizes, const std::atomic<bool>& aborted)
      : model_(std::move(model)), sizes_(std::move(sizes)) {
    const Plan plan = plan_steps<State>(*model_, in);
    model_->require_memory(plan.peak);
    const std::size_t before = model_->available_memory();
    state_ = std::make_unique<State>(model_->context(&aborted), *model_, in);
    // Others may have been let go of meanwhile.
    const std::size_t after = std::min(model_->available_memory(), before);
    still_to_hold_ = plan.held - std::min(before - after, plan.held);
    step_bytes_ = plan.peak - plan.held;
  }

  State& own_state() { return *state_; }

 private:
  std::shared_ptr<const Model> model_;  // before what refers to it
  std::unique_ptr<State> state_;
  const std::shared_ptr<void> for_gradients_ = model_->keep_for_gradients();
  Input sizes_;
  std::size_t still_to_hold_ = 0;  // bytes that the first step takes for good: backward's weights of the model, moments
  std::size_t step_bytes_ = 0;     // that every step needs besides
};

}  // namespace cones::jobs
