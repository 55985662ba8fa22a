#include "addon/promise_queue.h"

#include <string>
#include <system_error>
#include <utility>

namespace cones::addon {

void Progress::notify(std::function<std::vector<napi_value>(Napi::Env)> arguments) const {
  instance_->post([id = id_, arguments = std::move(arguments)](Napi::Env env, Instance& instance) {
    instance.notify(env, id, arguments);
  });
}

PromiseQueue* PromiseQueue::owned_by(Napi::Env env, Napi::Object holder) {
  std::shared_ptr<PromiseQueue> queue;
  try {
    queue = std::make_shared<PromiseQueue>(Instance::of(env));
  } catch (const std::system_error& error) {
    throw make_error(env, "CONES_OUT_OF_MEMORY",
                     std::string("The operating system refused another thread (") + error.what() +
                         "). Let this process have more, or dispose of engines.");
  }
  PromiseQueue* raw = queue.get();
  holder.Set("queue", Napi::External<std::shared_ptr<PromiseQueue>>::New(
                          env, new std::shared_ptr<PromiseQueue>(std::move(queue)),
                          [](Napi::Env, std::shared_ptr<PromiseQueue>* owned) { delete owned; }));
  return raw;
}

Napi::Promise PromiseQueue::add(Napi::Env env, const Options& options, Work work) {
  jobs::Job job;
  job.series = options.series;
  job.share = options.share;
  job.together = options.together;
  job.ready = options.ready;
  job.unstoppable = options.unstoppable;
  if (options.abort)
    options.abort->watch(job.aborted, [queue = weak_from_this()] {
      if (const auto own = queue.lock(); own && !own->stopped_) own->jobs_.end_aborted();
    });
  Napi::Promise promise;
  const std::uint64_t id = instance_.add_pending(env, options.keep, options.callback, job.aborted, &promise);
  const auto result = std::make_shared<Settle>();  // of the last step
  if (options.waits)
    job.waits = [progress = Progress(instance_, id), arguments = options.waits](std::size_t place) {
      progress.notify([arguments, place](Napi::Env e) { return arguments(e, place); });
    };
  job.step = [work = std::move(work), progress = Progress(instance_, id), result](const std::atomic<bool>& aborted) {
    std::optional<Settle> settle = work(aborted, progress);
    if (settle) *result = std::move(*settle);
    return settle.has_value();
  };
  job.ended = [&instance = instance_, id, result](const std::optional<jobs::Failure>& failure) {
    instance.post([id, failure, settle = std::move(*result)](Napi::Env e, Instance& own) {
      if (failure) return own.reject(e, id, failure->code, failure->message);
      own.resolve(e, id, settle);
    });
  };
  jobs_.add(std::move(job));
  return promise;
}

void PromiseQueue::stop() {
  if (std::exchange(stopped_, true)) return;  // the instance may be gone by now
  jobs_.stop();
  instance_.remove_queue(this);
}

}  // namespace cones::addon
