#include "addon/job_queue.h"

#include <algorithm>
#include <new>
#include <string>
#include <system_error>

#include "base/denormals.h"
#include "base/error.h"

namespace cones::addon {

void Progress::notify(std::function<std::vector<napi_value>(Napi::Env)> arguments) const {
  instance_.post([id = id_, arguments = std::move(arguments)](Napi::Env env, Instance& instance) {
    instance.notify(env, id, arguments);
  });
}

JobQueue::JobQueue(Instance& instance) : instance_(instance), thread_([this] { run(); }) {
  instance_.add_queue(this);
}

JobQueue* JobQueue::owned_by(Napi::Env env, Napi::Object holder) {
  std::shared_ptr<JobQueue> queue;
  try {
    queue = std::make_shared<JobQueue>(Instance::of(env));
  } catch (const std::system_error& error) {
    throw make_error(env, "CONES_OUT_OF_MEMORY",
                     std::string("The operating system refused another thread (") + error.what() +
                         "). Let this process have more, or dispose of engines.");
  }
  JobQueue* raw = queue.get();
  holder.Set("queue", Napi::External<std::shared_ptr<JobQueue>>::New(
                          env, new std::shared_ptr<JobQueue>(std::move(queue)),
                          [](Napi::Env, std::shared_ptr<JobQueue>* owned) { delete owned; }));
  return raw;
}

JobQueue::~JobQueue() { stop(); }

Napi::Promise JobQueue::add(Napi::Env env, const Options& options, Work work) {
  auto aborted = std::make_shared<std::atomic<bool>>(false);
  if (options.abort) options.abort->watch(aborted);
  Napi::Promise promise;
  const std::uint64_t id = instance_.add_pending(env, options.keep, options.callback, aborted, &promise);
  {
    std::lock_guard lock(mutex_);
    waiting_.push_back({id, std::move(aborted), std::move(work), options.series});
  }
  wake_.notify_one();
  return promise;
}

void JobQueue::abort_all() {
  std::lock_guard lock(mutex_);
  for (Job& job : waiting_) job.aborted->store(true);
  for (Job& job : begun_) job.aborted->store(true);
  if (running_) running_->store(true);
}

void JobQueue::stop() {
  if (!thread_.joinable()) return;
  abort_all();
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
  waiting_.clear();
  begun_.clear();
  instance_.remove_queue(this);
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
  if (outcome == Outcome::ended) job.work = nullptr;  // what it held is free before the next job looks for memory
  lock.lock();
  running_ = nullptr;
  return outcome;
}

JobQueue::Outcome JobQueue::call(Job& job, bool may_wait) {
  std::string code, message;
  try {
    if (job.aborted->load()) fail("CONES_ABORTED", "The job was aborted.");
    std::optional<Settle> settle = job.work(*job.aborted, Progress(instance_, job.id));
    if (!settle) return Outcome::unfinished;
    instance_.post([id = job.id, settle = std::move(*settle)](Napi::Env env, Instance& instance) {
      instance.resolve(env, id, settle);
    });
    return Outcome::ended;
  } catch (const NotNow& error) {
    if (may_wait) return Outcome::not_now;
    code = error.code();
    message = error.what();
  } catch (const Error& error) {
    code = error.code();
    message = error.what();
  } catch (const std::bad_alloc&) {
    code = "CONES_OUT_OF_MEMORY";
    message = "The operating system refused more memory. Use a smaller batch or picture, or free memory.";
  } catch (const std::exception& error) {
    code = "CONES_INTERNAL";
    message = error.what();
  }
  instance_.post([id = job.id, code, message](Napi::Env env, Instance& instance) {
    instance.reject(env, id, code, message);
  });
  return Outcome::ended;
}

}  // namespace cones::addon
