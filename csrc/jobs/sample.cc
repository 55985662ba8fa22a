#include "jobs/sample.h"

#include "ops/transfer.h"

namespace cones::jobs {

StepLatents step_latents(const Model& model, const Sampling& sampling) {
  const Context context = model.context(nullptr);
  return {download_channels_first(context, sampling.latents(context)), download_channels_first(context, sampling.predicted(context))};
}

bool SampleJob::step(const std::atomic<bool>& aborted, const SamplingGroup::Stepped& stepped) {
  if (!member_) member_ = group_->join(*model_, drawing_, stepped, aborted, shared_);
  return group_->advance(*model_, *member_);
}

std::vector<float> SampleJob::latents() const {
  const Context context = model_->context(nullptr);
  return download_channels_first(context, member_->sampling.latents(context));
}

}  // namespace cones::jobs
