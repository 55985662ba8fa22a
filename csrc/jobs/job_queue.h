// A thread that runs a model's jobs. Most are one step; drawings and searches go step by step, and between their steps others
// get in: who wants a picture does not wait for a whole search.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace cones::jobs {

/// Set by whoever no longer wants the job.
using AbortFlag = std::shared_ptr<std::atomic<bool>>;

/// Why a job failed: a code of lib/errors.ts, and what to do.
struct Failure {
  std::string code, message;
};

struct Job {
  /// Runs on the queue's thread. True: the job is done; false: there is more to do, it is called again. What it throws ends the
  /// job; but before it has returned for the first time it may throw NotNow, and is tried again when others have ended.
  std::function<bool(const std::atomic<bool>& aborted)> step;
  /// The last that the job does, on the queue's thread; `step` and what it held are gone by then.
  std::function<void(const std::optional<Failure>& failure)> ended;
  AbortFlag aborted = std::make_shared<std::atomic<bool>>(false);
  const void* series = nullptr;  // jobs with the same one run one after another: those of one search
};

class JobQueue {
 public:
  /// std::system_error where the system refuses a thread.
  JobQueue();
  /// A job must not own its queue: this joins the thread.
  ~JobQueue() { stop(); }
  JobQueue(const JobQueue&) = delete;
  JobQueue& operator=(const JobQueue&) = delete;

  // From any thread:
  void add(Job job);
  /// Sets the abort flag of every job that has not ended.
  void abort_all();

  /// Aborts all jobs, waits for the running step and drops the others without a word. Nothing can be added afterwards.
  void stop();

 private:
  void set_flags();
  enum class Outcome { ended, unfinished, not_now };
  void run();
  bool begin_one(std::unique_lock<std::mutex>& lock);
  Outcome take_step(std::unique_lock<std::mutex>& lock, Job& job, bool may_wait);
  static Outcome call(Job& job, bool may_wait);

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> waiting_;  // have not begun
  std::deque<Job> begun_;    // are between two steps
  AbortFlag running_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace cones::jobs
