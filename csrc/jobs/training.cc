#include "jobs/training.h"

#include <utility>

#include "ops/transfer.h"

namespace cones::jobs {

Plan plan_training(const Model& model, const TrainInput& in) { return plan_steps<TrainState>(model, in); }

namespace {

TrainInput sizes_for_update(const TrainInput& in) {
  TrainInput sizes;
  static_cast<DataInput&>(sizes) = data_sizes(in.shape, in.captions, in.tokens, 1);
  sizes.options = in.options;
  return sizes;
}

}  // namespace

TrainJob::TrainJob(std::shared_ptr<const Model> model, const TrainInput& in, const std::atomic<bool>& aborted)
    : LearningJob(std::move(model), in, sizes_for_update(in), aborted) {}

std::vector<TrainJob::Values> TrainJob::weights() const {
  std::vector<Values> result;
  const TrainedWeights* weights = state().trainer().weights();
  const Context context = model().context(nullptr);
  for (std::size_t i = 0; weights && i < weights->size(); ++i)
    result.push_back({weights->parameter(i).name, weights->parameter(i).shape, download(context, weights->values(i))});
  return result;
}

std::vector<float> TrainJob::embeddings() const {
  return download(model().context(nullptr), state().identifier()->embedding());
}

}  // namespace cones::jobs
