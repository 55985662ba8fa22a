#include "base/threads.h"

#include <system_error>

#include "base/denormals.h"
#include "base/error.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace cones {
namespace {

// Longer than nearly all pauses between two rounds of a model (docs/log/optimisation-log.md).
constexpr auto kPatience = std::chrono::microseconds(100);

void check_aborted(const std::atomic<bool>* aborted) {
  if (aborted != nullptr && aborted->load(std::memory_order_relaxed)) fail("CONES_ABORTED", "The job was aborted.");
}

void relax() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads)
    : parts_(static_cast<std::size_t>(threads)),
      // With more threads than processors, who looks out keeps somebody else from working.
      patience_(threads > static_cast<int>(std::thread::hardware_concurrency()) ? Clock::duration::zero() : kPatience) {
  workers_.reserve(parts_.size());
  try {
    for (int lane = 1; lane < threads; ++lane) workers_.emplace_back([this, lane] { work(lane); });
  } catch (const std::system_error&) {
    // A container's or a user's limit: those that there are do all the work.
  }
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (auto& worker : workers_) worker.join();
}

void ThreadPool::run(std::int64_t count, const std::function<void(std::int64_t, int)>& task, const std::atomic<bool>* aborted) {
  const FlushDenormals flush;
  check_aborted(aborted);
  if (workers_.empty() || count <= 1) {
    for (std::int64_t i = 0; i < count; ++i) {
      check_aborted(aborted);
      task(i, 0);
    }
    return;
  }
  const std::int64_t lanes = threads();
  for (std::int64_t lane = 0; lane < lanes; ++lane) {
    Part& part = parts_[static_cast<std::size_t>(lane)];
    part.next.store(count * lane / lanes, std::memory_order_relaxed);
    part.end = count * (lane + 1) / lanes;
  }
  task_ = &task;
  aborted_ = aborted;
  error_ = nullptr;
  opened_ = Clock::now();
  open_ = ++rounds_;
  if (sleeping_ > 0) {
    { std::lock_guard lock(mutex_); }  // who counts as sleeping is in wait() now
    wake_.notify_all();
  }
  drain(task, 0);
  open_ = 0;
  wait_for_helpers();
  if (error_) std::rethrow_exception(error_);
}

void ThreadPool::wait_for_helpers() {
  for (const auto until = Clock::now() + patience_; helping_ > 0 && Clock::now() < until;) relax();
  if (helping_ == 0) return;
  std::unique_lock lock(mutex_);
  caller_sleeps_ = true;
  done_.wait(lock, [this] { return helping_ == 0; });
  caller_sleeps_ = false;
}

void ThreadPool::work(int lane) {
  const FlushDenormals flush;
  std::uint64_t seen = 0;
  Clock::duration patience = patience_;
  for (;;) {
    const auto idle_since = Clock::now();
    if (!look(seen, idle_since + patience)) {
      patience = Clock::duration::zero();
      if (!sleep(seen)) return;
    }
    // Asleep or not: would looking have been enough?
    if (opened_.load() - idle_since < patience_) patience = patience_;

    ++helping_;
    if (const std::uint64_t round = open_; round != 0 && round != seen) {
      seen = round;
      drain(*task_, lane);
    }
    if (--helping_ == 0 && caller_sleeps_) {
      { std::lock_guard lock(mutex_); }
      done_.notify_one();
    }
  }
}

/// Whether another round than the one `seen` begins before `until`.
bool ThreadPool::look(std::uint64_t seen, Clock::time_point until) const {
  do {
    for (int i = 0; i < 16; ++i) {
      if (const std::uint64_t round = open_; round != 0 && round != seen) return true;
      relax();
    }
  } while (Clock::now() < until);
  return false;
}

/// Sleeps until another round than the one `seen` begins; false: the pool ends.
bool ThreadPool::sleep(std::uint64_t seen) {
  std::unique_lock lock(mutex_);
  ++sleeping_;
  wake_.wait(lock, [&] {
    const std::uint64_t round = open_;
    return stop_ || (round != 0 && round != seen);
  });
  --sleeping_;
  return !stop_;
}

void ThreadPool::drain(const Task& task, int lane) {
  const std::size_t lanes = parts_.size();
  try {
    for (std::size_t k = 0; k < lanes; ++k) {
      Part& part = parts_[(static_cast<std::size_t>(lane) + k) % lanes];
      for (std::int64_t i; (i = part.next.fetch_add(1, std::memory_order_relaxed)) < part.end;) {
        check_aborted(aborted_);
        task(i, lane);
      }
    }
  } catch (...) {
    for (Part& part : parts_) part.next.store(part.end, std::memory_order_relaxed);
    std::lock_guard lock(mutex_);
    if (!error_) error_ = std::current_exception();
  }
}

}  // namespace cones
