// NativeSearch: a concept search and its data, on its model's queue.
#pragma once

#include <napi.h>

#include <memory>

#include "addon/promise_queue.h"
#include "jobs/search.h"
#include "model/model.h"

namespace cones::addon {

class NativeSearch : public Napi::ObjectWrap<NativeSearch> {
 public:
  static Napi::Function define(Napi::Env env);
  /// Only createSearch constructs it, with an External<Created>.
  explicit NativeSearch(const Napi::CallbackInfo& info);

  struct Created {
    std::shared_ptr<jobs::SearchJob> job;
    std::shared_ptr<PromiseQueue> queue;
  };
  /// Reads the options on the JavaScript thread; the returned work builds the search and settles with a NativeSearch.
  static Work create(const Napi::Object& options, std::shared_ptr<const Model> model, PromiseQueue* queue);
  /// NativeModel's planSearch.
  static Napi::Value plan(const Napi::Object& options, const Model& model);

 private:
  Napi::Value step(const Napi::CallbackInfo& info);
  Napi::Value run(const Napi::CallbackInfo& info);
  Napi::Value update(const Napi::CallbackInfo& info);
  Napi::Value save_state(const Napi::CallbackInfo& info);
  Napi::Value load_state(const Napi::CallbackInfo& info);
  Napi::Value embedding(const Napi::CallbackInfo& info);
  Napi::Value ranking(const Napi::CallbackInfo& info);
  Napi::Value select_threshold(const Napi::CallbackInfo& info);
  Napi::Value select_count(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  const std::shared_ptr<jobs::SearchJob>& job(Napi::Env env) const;
  /// Queues `work` behind everything else that this search was asked for.
  Napi::Value queue(Napi::Env env, PromiseQueue::Options options, Work work);

  std::shared_ptr<jobs::SearchJob> job_;
  std::shared_ptr<PromiseQueue> queue_;
};

}  // namespace cones::addon
