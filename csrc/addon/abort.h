// NativeAbort: an abort flag that JavaScript sets and any number of jobs watch.
#pragma once

#include <napi.h>

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "jobs/job_queue.h"

namespace cones::addon {

class NativeAbort : public Napi::ObjectWrap<NativeAbort> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit NativeAbort(const Napi::CallbackInfo& info) : ObjectWrap(info) {
    info.This().As<Napi::Object>().TypeTag(&kTag);
  }

  /// Tells these objects from all others; `instanceof` would believe a prototype.
  static constexpr napi_type_tag kTag{0x6b0d2f4c9e1a4d37, 0x9c5e8a71b2f04d16};

  /// `flag` is set when abort() is called, at once if it already was; then `told` is called on the JavaScript thread.
  void watch(const jobs::AbortFlag& flag, std::function<void()> told);

 private:
  void abort(const Napi::CallbackInfo& info);

  bool aborted_ = false;
  struct Watcher {
    std::weak_ptr<std::atomic<bool>> flag;
    std::function<void()> told;
  };
  std::vector<Watcher> watchers_;
};

}  // namespace cones::addon
