#include "base/threads.h"

#include "base/denormals.h"

namespace cones {

ThreadPool::ThreadPool(int threads) : parts_(static_cast<std::size_t>(threads)) {
  for (int lane = 1; lane < threads; ++lane) workers_.emplace_back([this, lane] { work(lane); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (auto& worker : workers_) worker.join();
}

void ThreadPool::run(std::int64_t count, const std::function<void(std::int64_t, int)>& task) {
  const FlushDenormals flush;
  if (workers_.empty() || count <= 1) {
    for (std::int64_t i = 0; i < count; ++i) task(i, 0);
    return;
  }
  {
    std::lock_guard lock(mutex_);
    task_ = &task;
    const std::int64_t lanes = this->threads();
    for (std::int64_t lane = 0; lane < lanes; ++lane) {
      Part& part = parts_[static_cast<std::size_t>(lane)];
      part.next.store(count * lane / lanes, std::memory_order_relaxed);
      part.end = count * (lane + 1) / lanes;
    }
    error_ = nullptr;
    ++round_;
  }
  wake_.notify_all();
  drain(task, 0);
  std::unique_lock lock(mutex_);
  task_ = nullptr;
  done_.wait(lock, [this] { return helping_ == 0; });
  if (error_) std::rethrow_exception(error_);
}

void ThreadPool::work(int lane) {
  const FlushDenormals flush;
  std::uint64_t seen = 0;
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [&] { return stop_ || (task_ != nullptr && round_ != seen); });
    if (stop_) return;
    seen = round_;
    const Task& task = *task_;
    ++helping_;
    lock.unlock();
    drain(task, lane);
    lock.lock();
    if (--helping_ == 0) done_.notify_one();
  }
}

void ThreadPool::drain(const Task& task, int lane) {
  const std::size_t lanes = parts_.size();
  try {
    for (std::size_t k = 0; k < lanes; ++k) {
      Part& part = parts_[(static_cast<std::size_t>(lane) + k) % lanes];
      for (std::int64_t i; (i = part.next.fetch_add(1, std::memory_order_relaxed)) < part.end;) task(i, lane);
    }
  } catch (...) {
    for (Part& part : parts_) part.next.store(part.end, std::memory_order_relaxed);
    std::lock_guard lock(mutex_);
    if (!error_) error_ = std::current_exception();
  }
}

}  // namespace cones
