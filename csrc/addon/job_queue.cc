#include "addon/job_queue.h"

#include <new>

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
  auto queue = std::make_shared<JobQueue>(Instance::of(env));
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
    waiting_.push_back({id, std::move(aborted), std::move(work)});
  }
  wake_.notify_one();
  return promise;
}

void JobQueue::abort_all() {
  std::lock_guard lock(mutex_);
  for (Job& job : waiting_) job.aborted->store(true);
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
  instance_.remove_queue(this);
}

void JobQueue::run() {
  const FlushDenormals flush;
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    if (stopping_) return;
    Job job = std::move(waiting_.front());
    waiting_.pop_front();
    running_ = job.aborted;
    lock.unlock();
    run_job(std::move(job));
    lock.lock();
    running_ = nullptr;
  }
}

void JobQueue::run_job(Job job) {
  std::string code, message;
  try {
    if (job.aborted->load()) fail("CONES_ABORTED", "The job was aborted.");
    Settle settle = job.work(*job.aborted, Progress(instance_, job.id));
    instance_.post([id = job.id, settle = std::move(settle)](Napi::Env env, Instance& instance) {
      instance.resolve(env, id, settle);
    });
    return;
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
}

}  // namespace cones::addon
