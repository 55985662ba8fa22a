#include "training/training_pass.h"

#include <string>
#include <utility>

#include "base/error.h"

namespace cones {

MseResult run_pass(Context& context, const TrainingPass& pass, const std::function<void(const MseResult&)>& ready) {
  const TrainingBatch& batch = pass.batch;
  context.gradient_scale = context.backend->gradient_scale(batch.target.size() / batch.target.dim(0));
  Tape tape(context, pass.parameters, pass.checkpointing);
  const Var states = pass.identifier ? pass.identifier->encode(tape, batch) : Var(batch.embeddings);
  const TextKv text = pass.unet.project_text(tape, states, pass.view, batch.texts);
  const UNetInput input{.latents = Var(batch.latents), .timesteps = batch.timesteps, .text = text, .view = pass.view};
  const Var output = pass.unet.forward(tape, input);
  MseResult loss = mse_loss(context, output.value(), batch.target, batch.weights, true);
  ready(loss);
  Tape::accumulate(context, output.gradient(), std::exchange(loss.gradient, Tensor()));
  tape.backward();
  return loss;
}

void fail_not_finite(const Context& context, const char* what, std::int64_t step) {
  const bool narrow = context.backend->activation() == DType::f16;
  fail("CONES_LOSS_NOT_FINITE", std::string(what) + " is not finite at step " + std::to_string(step) + ". " +
                                    (narrow ? "Load the model with precision 'bf16', whose range is wider than fp16's, lower"
                                            : "Lower") +
                                    " the learning rate, or check the pictures and the model's weights.");
}

}  // namespace cones
