// The drawings that are under way on one model: they take their steps together, so that many requests at once cost less than one
// after another, and none waits for another's end. All on the thread of the model's jobs, but for recent().
//
// A drawing is a caller: a call of generate() draws one batch after another. Rows are dealt to callers in rounds, a picture each, those
// first who have had the least time; a round in which somebody has no picture left to deal to is the last, as soon as the device is
// busy. So each of n callers has 1/n of the time, whoever asks for one picture waits n times as long as alone, and who asks for
// many has all that nobody else wants.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "diffusion/sampler.h"
#include "jobs/drawing.h"
#include "jobs/job_queue.h"
#include "model/model.h"

namespace cones::jobs {

class SamplingGroup {
 public:
  explicit SamplingGroup(Clock clock = steady_seconds) : clock_(std::move(clock)) {}

  /// Hears of every step that all pictures of a drawing have taken.
  using Stepped = std::function<void(const Sampling& after)>;

  struct Member {
    Sampling sampling;
    Stepped stepped;
    const std::atomic<bool>* aborted;
    std::shared_ptr<std::atomic<bool>> shared;  // told: is the step under way others', too?
    DrawingSize size;
    std::size_t held;              // bytes between steps
    std::shared_ptr<void> memory;  // Model::share_memory
    double used;                   // seconds that its rows have taken
  };

  /// A new member, which stays as long as the caller holds it; its masks and `aborted` must live as long. NotNow where memory is
  /// short, or with as many members as have a picture each in one step.
  std::shared_ptr<Member> join(const Model& model, const Drawing& drawing, Stepped stepped, const std::atomic<bool>& aborted,
                               std::shared_ptr<std::atomic<bool>> shared = std::make_shared<std::atomic<bool>>(false));
  /// Bytes that members hold between their steps: free once they have ended.
  std::size_t held() const;
  /// A step of those whose turn it is, unless `caller` is finished. True when it is now. An error ends the caller, and nobody else.
  bool advance(const Model& model, Member& caller);

  /// UNet calls and their rows, over the last seconds. From any thread.
  struct Recent {
    double steps_per_second, rows_per_step;
  };
  Recent recent() const;

 private:
  using MemberRef = std::shared_ptr<Member>;
  std::vector<MemberRef> members() const;
  std::vector<MemberRef> next() const;
  static std::vector<Sampling::Part> deal(const std::vector<MemberRef>& together, index_t busy);
  void note(double now, index_t rows);

  const Clock clock_;
  std::vector<std::weak_ptr<Member>> members_;

  struct Taken {
    double at;
    index_t rows;
  };
  mutable std::mutex mutex_;
  std::deque<Taken> taken_;  // within kWindow
};

}  // namespace cones::jobs
