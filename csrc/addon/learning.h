// What NativeSearch and NativeTraining have in common: an object whose work is queued in series on its model's queue.
#pragma once

#include <napi.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "addon/arguments.h"
#include "addon/latent_arguments.h"
#include "addon/promise_queue.h"
#include "addon/training_arguments.h"
#include "jobs/step_run.h"

namespace cones::addon {

/// Job: a LearningJob. Self has what messages say as constants: kMadeBy, kDisposed, kNoMasks, kOwnCaptions; and kUnstoppable: a step whose
/// backward has begun is taken to its end, but nobody waits for that.
template <class Self, class Job>
class NativeLearning : public Napi::ObjectWrap<Self> {
 public:
  /// Only its model constructs it, with an External<Created>.
  explicit NativeLearning(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Self>(info) {
    if (info.Length() != 1 || !info[0].IsExternal()) throw Napi::TypeError::New(info.Env(), Self::kMadeBy);
    const Created& created = *info[0].As<Napi::External<Created>>().Data();
    job_ = created.job;
    queue_ = created.queue;
  }

 protected:
  struct Created {
    std::shared_ptr<Job> job;
    std::shared_ptr<PromiseQueue> queue;
  };

  /// Work that starts a job on `in`, and settles with an object of `made_class`.
  template <class Input>
  static Work creation(std::shared_ptr<const Model> model, PromiseQueue* queue, Input in, Napi::FunctionReference Instance::* made_class) {
    return [model = std::move(model), queue, in = std::move(in), made_class](const std::atomic<bool>& aborted, const Progress&) -> Settle {
      return [job = std::make_shared<Job>(model, in, aborted), queue, made_class](Napi::Env env) -> Napi::Value {
        Created created{job, queue->shared_from_this()};
        return (Instance::of(env).*made_class).New({Napi::External<Created>::New(env, &created)});
      };
    };
  }

  Napi::Value step(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), static_cast<double>(job(info.Env())->state().steps_done()));
  }

  Napi::Value run(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (!info[0].IsObject()) invalid(env, "run needs its options.");
    const auto o = info[0].template As<Napi::Object>();
    PromiseQueue::Options options = run_options(o, this->Value());
    if (Self::kUnstoppable) options.unstoppable = std::make_shared<std::atomic<bool>>(true);
    return queue(env, std::move(options),
                 [steps = jobs::StepRun<Job>(job(env), integer(o, "steps", 0, std::int64_t{1} << 40))](
                     const std::atomic<bool>& aborted, const Progress& progress) mutable -> std::optional<Settle> {
                   if (!steps.step(aborted, notifier(progress))) return std::nullopt;
                   return [](Napi::Env e) { return e.Undefined(); };
                 });
  }

  Napi::Value update(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (!info[0].IsObject()) invalid(env, "update needs its options.");
    const auto o = info[0].template As<Napi::Object>();
    if (has(o, "masks")) invalid(env, Self::kNoMasks);
    if (job(env)->state().identifier()) invalid(env, Self::kOwnCaptions);
    jobs::TrainingInput in;
    read_training(o, job(env)->model(), in);
    return queue(env, {.keep = this->Value(), .callback = {}, .abort = abort_option(o)},
                 [j = job(env), in = std::move(in)](const std::atomic<bool>& aborted, const Progress&) -> Settle {
                   return settle(j->update(in, aborted));
                 });
  }

  Napi::Value save_state(const Napi::CallbackInfo& info) {
    return queue(info.Env(), {.keep = this->Value()}, [j = job(info.Env())](const std::atomic<bool>&, const Progress&) -> Settle {
      return [bytes = j->save()](Napi::Env e) mutable { return hand_over(e, std::move(bytes)); };
    });
  }

  Napi::Value load_state(const Napi::CallbackInfo& info) {
    const SavedState state(info, this->Value());
    return queue(info.Env(), {.keep = state.keep},
                 [j = job(info.Env()), bytes = state.bytes](const std::atomic<bool>&, const Progress&) -> Settle {
                   j->load(bytes);
                   return [](Napi::Env e) { return e.Undefined(); };
                 });
  }

  const std::shared_ptr<Job>& job(Napi::Env env) const {
    if (!job_) throw make_error(env, "CONES_DISPOSED", Self::kDisposed);
    return job_;
  }
  /// Queues `work` behind everything else that this object was asked for.
  Napi::Value queue(Napi::Env env, PromiseQueue::Options options, Work work) {
    options.series = job(env).get();
    return queue_->add(env, options, std::move(work));
  }

  std::shared_ptr<Job> job_;

 private:
  std::shared_ptr<PromiseQueue> queue_;
};

}  // namespace cones::addon
