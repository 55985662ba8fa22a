#include "jobs/job_queue.h"

#include <algorithm>
#include <exception>
#include <new>
#include <utility>

#include "base/denormals.h"
#include "base/error.h"

namespace cones::jobs {
namespace {

/// Of the exception that is being handled.
Failure current_failure() {
  try {
    throw;
  } catch (const Error& error) {
    return {error.code(), error.what()};
  } catch (const std::bad_alloc&) {
    return {"CONES_OUT_OF_MEMORY", "The operating system refused more memory. Use a smaller batch or picture, or free memory."};
  } catch (const std::exception& error) {
    return {"CONES_INTERNAL", error.what()};
  }
}

}  // namespace

JobQueue::JobQueue() : thread_([this] { run(); }) {}

void JobQueue::add(Job job) {
  {
    std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void JobQueue::abort_all() {
  std::lock_guard lock(mutex_);
  set_flags();
}

// Call with the mutex held.
void JobQueue::set_flags() {
  for (Job& job : waiting_) job.aborted->store(true);
  for (Job& job : begun_) job.aborted->store(true);
  if (running_) running_->store(true);
}

void JobQueue::stop() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    set_flags();
  }
  wake_.notify_one();
  thread_.join();
  waiting_.clear();
  begun_.clear();
}

void JobQueue::run() {
  const FlushDenormals flush;
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !waiting_.empty() || !begun_.empty(); });
    // As many as wait now, and no more: who has begun must get on, too.
    for (std::size_t n = waiting_.size(); n > 0 && !stopping_ && begin_one(lock); --n) {}
    for (std::size_t n = begun_.size(); n > 0 && !stopping_; --n) {
      Job job = std::move(begun_.front());
      begun_.pop_front();
      if (take_step(lock, job, false) == Outcome::unfinished) begun_.push_back(std::move(job));
    }
    if (stopping_) return;
  }
}

// Begins the first job that may. False when there is none, or when it has to wait until others have ended: then nobody
// overtakes it.
bool JobQueue::begin_one(std::unique_lock<std::mutex>& lock) {
  const auto may_begin = [this](const Job& job) {
    return job.series == nullptr || std::ranges::none_of(begun_, [&](const Job& other) { return other.series == job.series; });
  };
  auto next = std::ranges::find_if(waiting_, [](const Job& job) { return job.aborted->load(); });
  if (next == waiting_.end()) next = std::ranges::find_if(waiting_, may_begin);
  if (next == waiting_.end()) return false;
  const auto place = next - waiting_.begin();
  Job job = std::move(*next);
  waiting_.erase(next);
  switch (take_step(lock, job, !begun_.empty())) {
    case Outcome::ended: return true;
    case Outcome::unfinished: begun_.push_back(std::move(job)); return true;
    case Outcome::not_now: waiting_.insert(waiting_.begin() + place, std::move(job)); return false;
  }
  return false;
}

JobQueue::Outcome JobQueue::take_step(std::unique_lock<std::mutex>& lock, Job& job, bool may_wait) {
  running_ = job.aborted;
  lock.unlock();
  const Outcome outcome = call(job, may_wait);
  lock.lock();
  running_ = nullptr;
  return outcome;
}

JobQueue::Outcome JobQueue::call(Job& job, bool may_wait) {
  std::optional<Failure> failure;
  try {
    if (job.aborted->load()) fail("CONES_ABORTED", "The job was aborted.");
    if (!job.step(*job.aborted)) return Outcome::unfinished;
  } catch (const NotNow&) {
    if (may_wait) return Outcome::not_now;
    failure = current_failure();
  } catch (...) {
    failure = current_failure();
  }
  job.step = nullptr;  // what it held is free before anybody hears of its end, and before the next job looks for memory
  job.ended(failure);
  job.ended = nullptr;
  return Outcome::ended;
}

}  // namespace cones::jobs
