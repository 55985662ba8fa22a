#include "addon/abort.h"

#include <algorithm>

namespace cones::addon {

Napi::Function NativeAbort::define(Napi::Env env) {
  return DefineClass(env, "NativeAbort", {InstanceMethod("abort", &NativeAbort::abort)});
}

void NativeAbort::watch(const jobs::AbortFlag& flag) {
  if (aborted_) flag->store(true);
  std::erase_if(watchers_, [](const auto& watcher) { return watcher.expired(); });
  watchers_.push_back(flag);
}

void NativeAbort::abort(const Napi::CallbackInfo&) {
  aborted_ = true;
  for (const auto& watcher : watchers_)
    if (const jobs::AbortFlag flag = watcher.lock()) flag->store(true);
  watchers_.clear();
}

}  // namespace cones::addon
