// A drawing as a job: step by step, together with the others that are under way on its model.
#pragma once

#include <memory>
#include <vector>

#include "jobs/sampling_group.h"

namespace cones::jobs {

/// A drawing between two steps [B, C, h, w].
struct StepLatents {
  std::vector<float> latents, predicted;  // x, and Sampling::predicted()
};
StepLatents step_latents(const Model& model, const Sampling& sampling);

class SampleJob {
 public:
  SampleJob(std::shared_ptr<const Model> model, std::shared_ptr<SamplingGroup> group, Drawing drawing)
      : model_(std::move(model)), group_(std::move(group)), drawing_(std::move(drawing)) {}

  /// Whether its step() under way is others', too (Job::unstoppable).
  std::shared_ptr<const std::atomic<bool>> shared() const { return shared_; }
  /// The pictures are finished, with the step of another job it may be.
  bool finished() const { return member_ && member_->sampling.finished(); }

  /// A step of whoever's turn it is. True when this drawing is finished. NotNow, the first time, where it has to wait. `aborted` is
  /// the same every time.
  bool step(const std::atomic<bool>& aborted, const SamplingGroup::Stepped& stepped);
  /// What it has drawn, when it is finished [B, C, h, w].
  std::vector<float> latents() const;

 private:
  std::shared_ptr<const Model> model_;
  std::shared_ptr<SamplingGroup> group_;
  Drawing drawing_;
  std::shared_ptr<SamplingGroup::Member> member_;
  std::shared_ptr<std::atomic<bool>> shared_ = std::make_shared<std::atomic<bool>>(false);
};

}  // namespace cones::jobs
