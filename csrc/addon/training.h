// NativeTraining: a training of one of the paper's rivals and its data, on its model's queue.
#pragma once

#include <napi.h>

#include <memory>

#include "addon/promise_queue.h"
#include "jobs/training.h"
#include "model/model.h"

namespace cones::addon {

class NativeTraining : public Napi::ObjectWrap<NativeTraining> {
 public:
  static Napi::Function define(Napi::Env env);
  /// Only createTraining constructs it, with an External<Created>.
  explicit NativeTraining(const Napi::CallbackInfo& info);

  struct Created {
    std::shared_ptr<jobs::TrainJob> job;
    std::shared_ptr<PromiseQueue> queue;
  };
  /// Reads the options on the JavaScript thread; the returned work builds the training and settles with a NativeTraining.
  static Work create(const Napi::Object& options, std::shared_ptr<const Model> model, PromiseQueue* queue);
  /// NativeModel's planTraining.
  static Napi::Value plan(const Napi::Object& options, const Model& model);

 private:
  Napi::Value step(const Napi::CallbackInfo& info);
  Napi::Value run(const Napi::CallbackInfo& info);
  Napi::Value update(const Napi::CallbackInfo& info);
  Napi::Value save_state(const Napi::CallbackInfo& info);
  Napi::Value load_state(const Napi::CallbackInfo& info);
  Napi::Value embeddings(const Napi::CallbackInfo& info);
  Napi::Value weights(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  const std::shared_ptr<jobs::TrainJob>& job(Napi::Env env) const;
  /// Queues `work` behind everything else that this training was asked for.
  Napi::Value queue(Napi::Env env, PromiseQueue::Options options, Work work);

  std::shared_ptr<jobs::TrainJob> job_;
  std::shared_ptr<PromiseQueue> queue_;
};

}  // namespace cones::addon
