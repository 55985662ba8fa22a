// A pool of threads that sleep when idle. One pool per engine; the calling thread works too, and never waits for a thread
// that has not woken up yet: beside other load that can take longer than the work.
//
// A model is some hundred short rounds, and waking a sleeping thread takes tens of microseconds, a good part of a round. So a
// thread that has nothing left to do looks out for the next round for a moment before it sleeps, and only as long as that
// moment has been long enough: where rounds are far apart, or other load holds them up, it sleeps at once.
//
// Every thread has its own part of a round, in order, and helps the others when it is done with that. Ops cut their work by
// rows of the batch, so a thread mostly reads what it wrote in the round before, from its own core's cache.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace cones {

class ThreadPool {
 public:
  /// `threads` ≥ 1, the caller included: 1 makes no thread at all. Fewer where the system gives no more.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  /// Runs task(i, lane) for every i in [0, count), each exactly once, in any order; returns when all are done.
  /// lane ∈ [0, threads()) names the running thread (for scratch buffers). The first exception is rethrown.
  /// Denormals count as zero in tasks (base/denormals.h). One caller at a time; tasks must not call run() again.
  /// Once `aborted` (may be null) is set no more tasks begin, and CONES_ABORTED is thrown.
  void run(std::int64_t count, const std::function<void(std::int64_t, int)>& task, const std::atomic<bool>* aborted = nullptr);

 private:
  using Task = std::function<void(std::int64_t, int)>;
  using Clock = std::chrono::steady_clock;
  void work(int lane);
  void drain(const Task& task, int lane);
  bool look(std::uint64_t seen, Clock::time_point until) const;
  bool sleep(std::uint64_t seen);
  void wait_for_helpers();

  /// What is left of one lane's part: [next, end). On a cache line of its own.
  struct alignas(64) Part {
    std::atomic<std::int64_t> next{0};
    std::int64_t end = 0;
  };

  std::vector<std::thread> workers_;
  std::vector<Part> parts_;  // by lane
  const Task* task_ = nullptr;
  const std::atomic<bool>* aborted_ = nullptr;  // of this round
  std::uint64_t rounds_ = 0;                // begun so far
  std::atomic<Clock::time_point> opened_{};  // when the last round began

  // Workers may touch parts_ and task_ only while they count as helping and the round that they saw is still open.
  alignas(64) std::atomic<std::uint64_t> open_{0};  // the round's number, 0 between rounds
  alignas(64) std::atomic<int> helping_{0};         // workers inside the round
  std::atomic<int> sleeping_{0};                    // workers to be woken
  std::atomic<bool> caller_sleeps_{false};

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  bool stop_ = false;
  std::exception_ptr error_;
  Clock::duration patience_;  // the longest look
};

}  // namespace cones
