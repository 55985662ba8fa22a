// NativeModel: a model and the queue of its jobs (typings/native.d.ts).
#pragma once

#include <napi.h>

#include <memory>
#include <string>

#include "addon/promise_queue.h"
#include "jobs/sampling_group.h"
#include "model/model.h"

namespace cones::addon {

class NativeModel : public Napi::ObjectWrap<NativeModel> {
 public:
  static Napi::Function define(Napi::Env env);
  /// Only loadModel constructs it, with an External<Loaded>.
  explicit NativeModel(const Napi::CallbackInfo& info);

  /// The addon's loadModel(options) → Promise<NativeModel>.
  static Napi::Value load(const Napi::CallbackInfo& info);

  struct Loaded {
    std::shared_ptr<Model> model;
    std::shared_ptr<PromiseQueue> queue;
    std::string note;  // which cards were there and could not be used, and why
  };

 private:
  Napi::Value kv_tensors(const Napi::CallbackInfo& info);
  Napi::Value kv_bytes(const Napi::CallbackInfo& info);
  Napi::Value isa(const Napi::CallbackInfo& info);
  Napi::Value device(const Napi::CallbackInfo& info);
  Napi::Value precision(const Napi::CallbackInfo& info);
  Napi::Value note(const Napi::CallbackInfo& info);
  Napi::Value memory(const Napi::CallbackInfo& info);
  Napi::Value trim(const Napi::CallbackInfo& info);
  Napi::Value recent_steps(const Napi::CallbackInfo& info);
  Napi::Value available_memory(const Napi::CallbackInfo& info);
  Napi::Value plan_text(const Napi::CallbackInfo& info);
  Napi::Value plan_sample(const Napi::CallbackInfo& info);
  Napi::Value plan_search(const Napi::CallbackInfo& info);
  Napi::Value plan_denoise(const Napi::CallbackInfo& info);
  Napi::Value plan_gradient(const Napi::CallbackInfo& info);
  Napi::Value plan_encode(const Napi::CallbackInfo& info);
  Napi::Value plan_decode(const Napi::CallbackInfo& info);
  Napi::Value word_norm(const Napi::CallbackInfo& info);
  Napi::Value encode_text(const Napi::CallbackInfo& info);
  Napi::Value token_gradient(const Napi::CallbackInfo& info);
  Napi::Value encode_images(const Napi::CallbackInfo& info);
  Napi::Value decode(const Napi::CallbackInfo& info);
  Napi::Value denoise(const Napi::CallbackInfo& info);
  Napi::Value sample(const Napi::CallbackInfo& info);
  Napi::Value gradient(const Napi::CallbackInfo& info);
  Napi::Value loss(const Napi::CallbackInfo& info);
  Napi::Value adaptable(const Napi::CallbackInfo& info);
  Napi::Value create_adapter(const Napi::CallbackInfo& info);
  Napi::Value create_mask(const Napi::CallbackInfo& info);
  Napi::Value create_search(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  /// Throws CONES_DISPOSED when there is no model any more.
  const std::shared_ptr<Model>& model(Napi::Env env) const;
  /// Queues `work` on this model; `options` is the call's options object (abort, callbacks), `schedule` the rest of the queue's.
  Napi::Value run(Napi::Env env, const Napi::Object& options, const char* callback_key, Work work,
                  PromiseQueue::Options schedule = {});

  std::shared_ptr<Model> model_;
  std::string note_;
  std::shared_ptr<PromiseQueue> queue_;
  std::shared_ptr<jobs::SamplingGroup> samplings_;
};

}  // namespace cones::addon
