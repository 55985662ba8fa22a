#include "jobs/training.h"

#include <algorithm>
#include <utility>

#include "ops/transfer.h"

namespace cones::jobs {

TrainState::TrainState(const Context& context, const Model& model, const TrainInput& in)
    : data_(upload_data(context, model, in)), trainer_(context, model.unet(), model.options().files.unet, in.options) {
  if (in.identifier) identifier_.emplace(context, model.text(), *in.identifier);
}

SearchProgress TrainState::step(const Context& context) {
  const auto begin = std::chrono::steady_clock::now();
  const TrainingBatch batch = data_.batch(context, trainer_.steps_done());
  const StepResult result = trainer_.step(context, batch, identifier_ ? &*identifier_ : nullptr);
  return progress_of(trainer_.steps_done(), result, data_.options().subject_batch, begin);
}

StepResult TrainState::update(const Context& context, const Model& model, const TrainingInput& in) {
  return trainer_.step(context, in.upload_batch(context, model), nullptr);
}

Plan plan_training(const Model& model, const TrainInput& in) {
  return plan_of(model.context(nullptr), [&](const Context& context) {
    auto state = std::make_unique<TrainState>(context, model, in);
    // The first step packs backward's weights as it goes; all later ones have them from the start.
    for (int step = 0; step < 2; ++step) state->step(context);
    return state;
  });
}

TrainJob::TrainJob(std::shared_ptr<const Model> model, const TrainInput& in, const std::atomic<bool>& aborted)
    : model_(std::move(model)) {
  static_cast<DataInput&>(sizes_) = data_sizes(in.shape, in.captions, in.tokens, 1);
  sizes_.options = in.options;
  const Plan plan = plan_training(*model_, in);
  model_->require_memory(plan.peak);
  const std::size_t before = model_->available_memory();
  state_ = std::make_unique<TrainState>(model_->context(&aborted), *model_, in);
  // Others may have been let go of meanwhile.
  const std::size_t after = std::min(model_->available_memory(), before);
  still_to_hold_ = plan.held - std::min(before - after, plan.held);
  step_bytes_ = plan.peak - plan.held;
}

std::shared_ptr<void> TrainJob::share_memory() const {
  model_->check_unchanged();
  return model_->share_memory(still_to_hold_, step_bytes_);
}

SearchProgress TrainJob::step(const Context& context) {
  const SearchProgress progress = state_->step(context);
  still_to_hold_ = 0;
  return progress;
}

StepResult TrainJob::update(const TrainingInput& in, const std::atomic<bool>& aborted) {
  model_->check_unchanged();
  in.check();
  const Plan plan = plan_of(model_->context(nullptr), [&](const Context& context) {
    auto state = std::make_unique<TrainState>(context, *model_, sizes_);
    for (int step = 0; step < 2; ++step) state->update(context, *model_, in);
    return state;
  });
  model_->require_memory(still_to_hold_ + plan.peak - plan.held);
  const StepResult result = state_->update(model_->context(&aborted), *model_, in);
  still_to_hold_ = 0;
  return result;
}

std::vector<std::byte> TrainJob::save() const { return state_->save(model_->context(nullptr)); }

void TrainJob::load(std::span<const std::byte> state) { state_->load(model_->context(nullptr), state); }

std::vector<TrainJob::Values> TrainJob::weights() const {
  std::vector<Values> result;
  const TrainedWeights* weights = state_->trainer().weights();
  const Context context = model_->context(nullptr);
  for (std::size_t i = 0; weights && i < weights->size(); ++i)
    result.push_back({weights->parameter(i).name, weights->parameter(i).shape, download(context, weights->values(i))});
  return result;
}

std::vector<float> TrainJob::embeddings() const {
  return download(model_->context(nullptr), state_->identifier()->embedding());
}

}  // namespace cones::jobs
