// One batch forward and backward through text encoder and UNet: what every training here is made of. A concept search turns the
// gradients into a step of ξ, a trainer into one of its weights.
#pragma once

#include <functional>
#include <vector>

#include "diffusion/training_batch.h"
#include "model/unet.h"
#include "ops/mse_loss.h"
#include "training/learned_identifier.h"

namespace cones {

struct TrainingPass {
  const UNet& unet;
  const TrainingBatch& batch;
  const KvView& view;
  ParameterGradients* parameters = nullptr;  // null: none are wanted
  LearnedIdentifier* identifier = nullptr;   // null: the batch's text states as they are
  Checkpointing checkpointing = Checkpointing::none;
};

struct StepResult {
  double loss = 0;
  std::vector<double> rows;  // unweighted mean squared error per row
};

/// Forward, loss and backward. `context` is this pass's own; `ready`, called with the loss once backward is about to begin, may change
/// whom it watches. Gradients of parameters arrive where `parameters` says, the identifier's wait for its update().
MseResult run_pass(Context& context, const TrainingPass& pass, const std::function<void(const MseResult&)>& ready);

/// CONES_LOSS_NOT_FINITE of step number `step`; `what` is the loss of it.
[[noreturn]] void fail_not_finite(const Context& context, const char* what, std::int64_t step);

}  // namespace cones
