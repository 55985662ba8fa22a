#include "addon/abort.h"

#include <algorithm>
#include <utility>

namespace cones::addon {

Napi::Function NativeAbort::define(Napi::Env env) {
  return DefineClass(env, "NativeAbort", {InstanceMethod("abort", &NativeAbort::abort)});
}

void NativeAbort::watch(const jobs::AbortFlag& flag, std::function<void()> told) {
  if (aborted_) flag->store(true);  // its queue looks before the first step
  std::erase_if(watchers_, [](const Watcher& watcher) { return watcher.flag.expired(); });
  watchers_.push_back({flag, std::move(told)});
}

void NativeAbort::abort(const Napi::CallbackInfo&) {
  aborted_ = true;
  const std::vector<Watcher> watchers = std::exchange(watchers_, {});
  for (const Watcher& watcher : watchers)
    if (const jobs::AbortFlag flag = watcher.flag.lock()) flag->store(true);
  for (const Watcher& watcher : watchers) watcher.told();
}

}  // namespace cones::addon
