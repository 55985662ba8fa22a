// The drawings that are under way on one model: they take their steps together, so that many requests at once cost less than one
// after another. All on the thread of the model's jobs.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "diffusion/sampler.h"
#include "jobs/drawing.h"
#include "model/model.h"

namespace cones::jobs {

class SamplingGroup {
 public:
  /// Hears of every step that a drawing has taken.
  using Stepped = std::function<void(const Sampling& after)>;

  struct Member {
    Sampling sampling;
    Stepped stepped;
    const std::atomic<bool>* aborted;
    DrawingSize size;
    std::size_t held;              // bytes between steps
    std::shared_ptr<void> memory;  // Model::share_memory
    bool ahead = false;            // took its step with somebody else's
  };

  /// A new member, which stays as long as the caller holds it; its masks and `aborted` must live as long. NotNow where memory is
  /// short or enough rows are under way. It takes its first step before anybody else joins: only then does it hold all that it is
  /// going to.
  std::shared_ptr<Member> join(const Model& model, const Drawing& drawing, Stepped stepped, const std::atomic<bool>& aborted);
  /// Bytes that members hold between their steps: free once they have ended.
  std::size_t held() const;
  /// A step of `caller`, unless it is ahead, and of all others that fit and are not ahead. True when `caller` is finished.
  bool advance(const Model& model, Member& caller);

 private:
  std::vector<std::shared_ptr<Member>> others(const Member* but = nullptr) const;
  std::vector<std::weak_ptr<Member>> members_;
};

}  // namespace cones::jobs
