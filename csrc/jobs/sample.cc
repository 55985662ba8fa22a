#include "jobs/sample.h"

#include "ops/transfer.h"

namespace cones::jobs {

StepLatents step_latents(const Model& model, const Sampling& sampling) {
  const Context context = model.context(nullptr);
  return {download_channels_first(context, sampling.latents()), download_channels_first(context, sampling.predicted())};
}

bool SampleJob::step(const std::atomic<bool>& aborted, const SamplingGroup::Stepped& stepped) {
  if (!member_) member_ = group_->join(*model_, drawing_, stepped, aborted);
  return group_->advance(*model_, *member_);
}

std::vector<float> SampleJob::latents() const {
  return download_channels_first(model_->context(nullptr), member_->sampling.latents());
}

}  // namespace cones::jobs
