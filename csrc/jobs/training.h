// A training of one of the paper's rivals as jobs: its start, runs of many steps, and what may be asked of it between them.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "jobs/latents.h"
#include "jobs/plan.h"
#include "jobs/step_run.h"
#include "jobs/training_data.h"
#include "training/trainer.h"

namespace cones::jobs {

struct TrainInput : DataInput {
  TrainerOptions options;
  std::optional<IdentifierOptions> identifier;
};

/// Pictures, weights, learned identifiers. With sizes only it is its own plan.
class TrainState {
 public:
  /// The model must outlive it. CONES_OPTION_INVALID when the input does not fit together.
  TrainState(const Context& context, const Model& model, const TrainInput& in);

  SearchProgress step(const Context& context);
  /// A step on an explicit batch.
  StepResult update(const Context& context, const Model& model, const TrainingInput& in);

  const Trainer& trainer() const { return trainer_; }
  /// Null unless some are learned.
  const LearnedIdentifier* identifier() const { return identifier_ ? &*identifier_ : nullptr; }

  /// The trainer's state and then the identifier's; load() changes both or neither.
  std::vector<std::byte> save(const Context& context) const { return save_with(context, trainer_, identifier()); }
  void load(const Context& context, std::span<const std::byte> state) {
    load_with(context, state, trainer_, identifier_ ? &*identifier_ : nullptr);
  }

 private:
  SearchData data_;
  Trainer trainer_;
  std::optional<LearnedIdentifier> identifier_;
};

/// The peak of a step, and what is held between steps. Of the input only sizes count.
Plan plan_training(const Model& model, const TrainInput& in);

class TrainJob {
 public:
  /// The start. NotNow where memory is short.
  TrainJob(std::shared_ptr<const Model> model, const TrainInput& in, const std::atomic<bool>& aborted);

  const Model& model() const { return *model_; }
  const TrainState& state() const { return *state_; }

  /// For steps to come: as long as the result lives, they are sure to fit. NotNow where they do not.
  std::shared_ptr<void> share_memory() const;
  SearchProgress step(const Context& context);
  /// One step on an explicit batch, for goldens and researchers; not where identifiers are learned. NotNow where memory is short.
  StepResult update(const TrainingInput& in, const std::atomic<bool>& aborted);

  std::vector<std::byte> save() const;
  void load(std::span<const std::byte> state);

  struct Values {
    std::string name;
    Shape shape;
    std::vector<float> values;
  };
  /// The trained weights as they are now; none where only identifiers are learned.
  std::vector<Values> weights() const;
  /// The learned identifiers' [tokens, D].
  std::vector<float> embeddings() const;

 private:
  std::shared_ptr<const Model> model_;  // before what refers to it
  std::unique_ptr<TrainState> state_;
  const std::shared_ptr<void> for_gradients_ = model_->keep_for_gradients();
  TrainInput sizes_;               // without floats
  std::size_t still_to_hold_ = 0;  // bytes that the first step takes for good: backward's weights of the model
  std::size_t step_bytes_ = 0;     // that every step needs besides
};

using TrainRun = StepRun<TrainJob>;

}  // namespace cones::jobs
