// NativeAbort: an abort flag that JavaScript sets and any number of jobs watch.
#pragma once

#include <napi.h>

#include <atomic>
#include <memory>
#include <vector>

namespace cones::addon {

using Flag = std::shared_ptr<std::atomic<bool>>;

class NativeAbort : public Napi::ObjectWrap<NativeAbort> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit NativeAbort(const Napi::CallbackInfo& info) : ObjectWrap(info) {}

  /// `flag` is set when abort() is called, at once if it already was.
  void watch(const Flag& flag);

 private:
  void abort(const Napi::CallbackInfo& info);

  bool aborted_ = false;
  std::vector<std::weak_ptr<std::atomic<bool>>> watchers_;
};

}  // namespace cones::addon
