// Many steps of a search or a training, one at a time, so that others come in between.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "jobs/training_data.h"

namespace cones::jobs {

/// `steps` more steps of a job that shares memory with others.
template <class Job>
class StepRun {
 public:
  StepRun(std::shared_ptr<Job> job, std::int64_t steps) : job_(std::move(job)), left_(steps) {}

  using Stepped = std::function<void(const SearchProgress&)>;
  /// True when the last has been taken. NotNow, the first time, where it has to wait.
  bool step(const std::atomic<bool>& aborted, const Stepped& stepped) {
    if (left_ == 0) return true;
    if (!memory_) memory_ = job_->share_memory();
    const Context context = job_->model().context(&aborted);
    stepped(job_->step(context));
    context.check_aborted();
    return --left_ == 0;
  }

 private:
  std::shared_ptr<Job> job_;
  std::int64_t left_;
  std::shared_ptr<void> memory_;
};

}  // namespace cones::jobs
