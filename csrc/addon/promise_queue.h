// A job queue (jobs/job_queue.h) whose jobs settle promises.
#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "addon/instance.h"
#include "jobs/job_queue.h"

namespace cones::addon {

/// What a running job may do besides computing.
class Progress {
 public:
  Progress(Instance& instance, std::uint64_t id) : instance_(&instance), id_(id) {}
  /// Calls the job's callback on the JavaScript thread.
  void notify(std::function<std::vector<napi_value>(Napi::Env)> arguments) const;

 private:
  Instance* instance_;
  std::uint64_t id_;
};

/// A job's step: runs on the queue's thread, and what it returns makes the promise's value on the JavaScript thread. Nothing:
/// there is more to do.
using Work = std::function<std::optional<Settle>(const std::atomic<bool>& aborted, const Progress& progress)>;

/// On the JavaScript thread, like every method here.
class PromiseQueue : public std::enable_shared_from_this<PromiseQueue> {
 public:
  explicit PromiseQueue(Instance& instance) : instance_(instance) { instance_.add_queue(this); }
  /// A new queue that lives as long as `holder`, or longer once shared_from_this() has other owners. Queues are owned
  /// from JavaScript only, never by a job: the destructor joins the thread.
  static PromiseQueue* owned_by(Napi::Env env, Napi::Object holder);
  ~PromiseQueue() { stop(); }

  struct Options {
    Napi::Object keep;                 // stays alive until the job ends
    Napi::Function callback = {};      // for Progress::notify
    NativeAbort* abort = nullptr;
    /// What else jobs::Job has: how it is scheduled.
    const void* series = nullptr;
    double share = 0;
    const void* together = nullptr;
    std::function<bool()> ready = {};
    std::shared_ptr<const std::atomic<bool>> unstoppable = {};
    /// Makes the callback's arguments for jobs::Job::waits.
    std::function<std::vector<napi_value>(Napi::Env, std::size_t place)> waits = {};
  };
  Napi::Promise add(Napi::Env env, const Options& options, Work work);
  void abort_all() { jobs_.abort_all(); }
  /// Aborts all jobs and waits for the running one. Nothing can be added afterwards.
  void stop();

 private:
  Instance& instance_;
  bool stopped_ = false;
  jobs::JobQueue jobs_;
};

}  // namespace cones::addon
