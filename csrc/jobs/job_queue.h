// A thread that runs a model's jobs. Most are one step; drawings and searches go step by step, and between their steps others
// get in: who wants a picture does not wait for a whole search.
//
// A search's step takes as long as many steps of a drawing, so what is shared is time, not turns: after its step the others have
// theirs, as long as the search's share of the time says, before it takes another one. Everybody else takes turns.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
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
  std::function<bool(const std::atomic<bool>& aborted)> step = nullptr;
  /// The last that the job does; `step` and what it held are gone by then. On the queue's thread, or, when it is aborted, on that of
  /// end_aborted().
  std::function<void(const std::optional<Failure>& failure)> ended = nullptr;
  AbortFlag aborted = std::make_shared<std::atomic<bool>>(false);
  const void* series = nullptr;  // jobs with the same one run one after another: those of one search

  /// A search: the part of the time, between 0 and 1, that searches have while others have something to do. 0: one of these others.
  double share = 0;
  const void* together = nullptr;  // a step of one is a step of all with the same: they have one turn among them
  std::function<bool()> ready = nullptr;  // between steps: it is done, and the next call of `step` takes no time
  /// Where true the step under way goes on when the job is aborted, because it is others', too, or must not be broken off: the job
  /// ends at once, and before the step. Null: never.
  std::shared_ptr<const std::atomic<bool>> unstoppable = nullptr;
  /// It cannot begin now: its place among those who are told so, from 1. Called again when that changes, on the queue's thread.
  std::function<void(std::size_t place)> waits = nullptr;
};

/// Seconds since some moment.
using Clock = std::function<double()>;
double steady_seconds();

class JobQueue {
 public:
  struct Options {
    Clock clock = steady_seconds;
    /// A drawing is several jobs, and who asks for one asks for the next when that has ended: a search lets this long pass before it
    /// takes time that is theirs.
    std::chrono::microseconds patience{20'000};
  };

  /// std::system_error where the system refuses a thread.
  JobQueue() : JobQueue(Options{}) {}
  explicit JobQueue(Options options);
  /// A job must not own its queue: this joins the thread.
  ~JobQueue() { stop(); }
  JobQueue(const JobQueue&) = delete;
  JobQueue& operator=(const JobQueue&) = delete;

  // From any thread:
  void add(Job job);
  /// Ends every job whose abort flag is set, but for one that is in the middle of a step that it can stop: that ends by itself, soon.
  void end_aborted();
  /// Sets the abort flag of every job that has not ended, and ends them as end_aborted() does.
  void abort_all();

  /// Aborts all jobs, waits for the running step and drops the others without a word. Nothing can be added afterwards.
  void stop();

 private:
  struct Entry {
    Job job;
    std::uint64_t number;     // in the order of the calls
    double used = 0;          // of a search: seconds by its share
    std::uint64_t round = 0;  // of its last turn
    bool refused = false;     // could not begin
    std::size_t place = 0;    // that it was told
  };
  using EntryRef = std::shared_ptr<Entry>;
  using Lock = std::unique_lock<std::mutex>;
  enum class Outcome { ended, unfinished, not_now };

  void run();
  void end_ready(Lock& lock);
  bool begin_one(Lock& lock, bool searches);
  bool take_turn(Lock& lock);
  void step_of_search(Lock& lock);
  bool others_expected(Lock& lock);
  void tell_places(Lock& lock);
  Outcome take_step(Lock& lock, const EntryRef& entry, bool may_wait);
  void end(Lock& lock, const EntryRef& entry, const std::optional<Failure>& failure);
  void account(Entry& entry, double seconds);
  void set_flags();
  double least_used() const;

  const Options options_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::list<EntryRef> waiting_;  // have not begun
  std::list<EntryRef> begun_;    // are between two steps
  std::list<EntryRef> dropped_;  // have ended, and hold what only the queue's thread may free
  EntryRef running_;
  double owed_ = 0;              // seconds that the others have before the next step of a search
  bool others_ended_ = false;    // one of them has since the last step of a search
  std::uint64_t round_ = 0, added_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace cones::jobs
