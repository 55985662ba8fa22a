// What a search or a training is made of: pictures, the learner (ConceptSearch or Trainer), learned identifiers. With sizes only it is
// its own plan.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "jobs/latents.h"
#include "jobs/training_data.h"

namespace cones::jobs {

template <class Learner>
class LearningState {
 public:
  SearchProgress step(const Context& context) {
    const auto begin = std::chrono::steady_clock::now();
    const TrainingBatch batch = data_.batch(context, learner_.steps_done());
    const StepResult result = learner_.step(context, batch, identifier_ ? &*identifier_ : nullptr);
    return progress_of(learner_.steps_done(), result, data_.options().subject_batch, begin);
  }
  /// A step on an explicit batch.
  StepResult update(const Context& context, const Model& model, const TrainingInput& in) {
    return learner_.step(context, in.upload_batch(context, model), nullptr);
  }

  /// May be read while another thread runs step().
  std::int64_t steps_done() const { return learner_.steps_done(); }
  /// Null unless some are learned.
  const LearnedIdentifier* identifier() const { return identifier_ ? &*identifier_ : nullptr; }

  /// Throws when a step was broken off in the middle, which most learners do not allow.
  void check_whole() const {}

  /// The learner's state and then the identifier's.
  std::vector<std::byte> save(const Context& context) const {
    std::vector<std::byte> state = learner_.save(context);
    if (identifier_) {
      const std::vector<std::byte> more = identifier_->save(context);
      state.insert(state.end(), more.begin(), more.end());
    }
    return state;
  }
  /// Changes both or neither.
  void load(const Context& context, std::span<const std::byte> state) {
    if (!identifier_) return learner_.load(context, state);
    const std::size_t own = std::min(learner_.state_size(), state.size());
    const std::vector<std::byte> before = identifier_->save(context);
    identifier_->load(context, state.subspan(own));
    try {
      learner_.load(context, state.first(own));
    } catch (...) {
      identifier_->load(context, before);
      throw;
    }
  }

 protected:
  /// The model must outlive it; `learner`: what a Learner is made of after the context. CONES_OPTION_INVALID when the input does not fit
  /// together.
  template <class... Args>
  LearningState(const Context& context, const Model& model, const DataInput& in, const std::optional<IdentifierOptions>& identifier,
                const Args&... learner)
      : data_(upload_data(context, model, in)), learner_(context, learner...) {
    if (identifier) identifier_.emplace(context, model.text(), *identifier);
  }

  Learner& learner() { return learner_; }
  const Learner& learner() const { return learner_; }

 private:
  SearchData data_;
  Learner learner_;
  std::optional<LearnedIdentifier> identifier_;
};

}  // namespace cones::jobs
