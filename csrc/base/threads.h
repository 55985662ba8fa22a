// A pool of threads that sleep when idle. One pool per engine; the calling thread works too, and never waits for a thread
// that has not woken up yet: beside other load that can take longer than the work.
//
// Every thread has its own part of a round, in order, and helps the others when it is done with that. Ops cut their work by
// rows of the batch, so a thread mostly reads what it wrote in the round before, from its own core's cache.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace cones {

class ThreadPool {
 public:
  /// `threads` ≥ 1, the caller included: 1 makes no thread at all.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  /// Runs task(i, lane) for every i in [0, count), each exactly once, in any order; returns when all are done.
  /// lane ∈ [0, threads()) names the running thread (for scratch buffers). The first exception is rethrown.
  /// Denormals count as zero in tasks (base/denormals.h). One caller at a time; tasks must not call run() again.
  void run(std::int64_t count, const std::function<void(std::int64_t, int)>& task);

 private:
  using Task = std::function<void(std::int64_t, int)>;
  void work(int lane);
  void drain(const Task& task, int lane);

  /// What is left of one lane's part: [next, end). On a cache line of its own.
  struct alignas(64) Part {
    std::atomic<std::int64_t> next{0};
    std::int64_t end = 0;
  };

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  const Task* task_ = nullptr;  // null between rounds: who wakes up then is too late and sleeps on
  std::vector<Part> parts_;  // by lane
  int helping_ = 0;  // workers inside the round
  std::uint64_t round_ = 0;
  bool stop_ = false;
  std::exception_ptr error_;
};

}  // namespace cones
