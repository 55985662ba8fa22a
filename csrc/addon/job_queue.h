// A thread that runs a model's jobs. Most are one piece of work; drawings and searches go step by step, and between their steps
// others get in: who wants a picture does not wait for a whole search.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "addon/instance.h"

namespace cones::addon {

/// What a running job may do besides computing.
class Progress {
 public:
  Progress(Instance& instance, std::uint64_t id) : instance_(instance), id_(id) {}
  /// Calls the job's callback on the JavaScript thread.
  void notify(std::function<std::vector<napi_value>(Napi::Env)> arguments) const;

 private:
  Instance& instance_;
  std::uint64_t id_;
};

/// Runs on the job's thread; what it returns makes the promise's value on the JavaScript thread. Nothing: there is more to do,
/// it is called again. Before it has returned for the first time it may throw NotNow, and is tried again later.
using Work = std::function<std::optional<Settle>(const std::atomic<bool>& aborted, const Progress& progress)>;

class JobQueue : public std::enable_shared_from_this<JobQueue> {
 public:
  explicit JobQueue(Instance& instance);
  /// A new queue that lives as long as `holder`, or longer once shared_from_this() has other owners. Queues are owned
  /// from JavaScript only, never by a job: the destructor joins the thread.
  static JobQueue* owned_by(Napi::Env env, Napi::Object holder);
  /// On the JavaScript thread, like every method here.
  ~JobQueue();
  JobQueue(const JobQueue&) = delete;
  JobQueue& operator=(const JobQueue&) = delete;

  struct Options {
    Napi::Object keep;                 // stays alive until the job ends
    Napi::Function callback = {};      // for Progress::notify
    NativeAbort* abort = nullptr;
    const void* series = nullptr;      // jobs with the same one run one after another: those of one search
  };
  Napi::Promise add(Napi::Env env, const Options& options, Work work);
  /// Sets the abort flag of every job that has not finished.
  void abort_all();
  /// Aborts all jobs, drops those that have not begun and waits for the running one. Nothing can be added afterwards.
  void stop();

 private:
  struct Job {
    std::uint64_t id;
    Flag aborted;
    Work work;
    const void* series;
  };
  enum class Outcome { ended, unfinished, not_now };
  void run();
  bool begin_one(std::unique_lock<std::mutex>& lock);
  Outcome take_step(std::unique_lock<std::mutex>& lock, Job& job, bool may_wait);
  Outcome call(Job& job, bool may_wait);

  Instance& instance_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> waiting_;  // have not begun
  std::deque<Job> begun_;    // are between two steps
  Flag running_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace cones::addon
