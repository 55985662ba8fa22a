// A training of one of the paper's rivals as jobs: its start, runs of many steps, and what may be asked of it between them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "jobs/learning_job.h"
#include "jobs/learning_state.h"
#include "jobs/step_run.h"
#include "training/trainer.h"

namespace cones::jobs {

struct TrainInput : DataInput {
  TrainerOptions options;
  std::optional<IdentifierOptions> identifier;
};

class TrainState : public LearningState<Trainer> {
 public:
  TrainState(const Context& context, const Model& model, const TrainInput& in)
      : LearningState(context, model, in, in.identifier, model.unet(), model.options().files.unet, in.options) {}

  const Trainer& trainer() const { return learner(); }
};

/// The peak of a step, and what is held between steps. Of the input only sizes count.
Plan plan_training(const Model& model, const TrainInput& in);

class TrainJob : public LearningJob<TrainState, TrainInput> {
 public:
  /// The start. NotNow where memory is short.
  TrainJob(std::shared_ptr<const Model> model, const TrainInput& in, const std::atomic<bool>& aborted);

  struct Values {
    std::string name;
    Shape shape;
    std::vector<float> values;
  };
  /// The trained weights as they are now; none where only identifiers are learned.
  std::vector<Values> weights() const;
  /// The learned identifiers' [tokens, D].
  std::vector<float> embeddings() const;
};

}  // namespace cones::jobs
