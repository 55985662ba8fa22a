#include "addon/devices.h"

#include <algorithm>
#include <string>
#include <vector>

#include "addon/arguments.h"
#include "addon/promise_queue.h"

namespace cones::addon {
namespace {

jobs::Precision precision_of(const Napi::Object& o) {
  const std::string name = has(o, "precision") ? text(o, "precision") : "auto";
  if (name == "auto") return jobs::Precision::automatic;
  if (name == "fp32") return jobs::Precision::fp32;
  if (name == "fp16") return jobs::Precision::fp16;
  if (name == "bf16") return jobs::Precision::bf16;
  invalid(o.Env(), "precision must be 'auto', 'fp32', 'fp16' or 'bf16'.");
}

std::size_t bytes(const Napi::Object& o, const char* key, std::int64_t low, std::size_t fallback) {
  return has(o, key) ? static_cast<std::size_t>(integer(o, key, low, std::int64_t{1} << 53)) : fallback;
}

}  // namespace

jobs::PlaceOptions place_options(const Napi::Object& o) {
  return {.device = has(o, "device") ? text(o, "device") : "cpu",
          .precision = precision_of(o),
          .threads = static_cast<int>(integer(o, "threads", 1, 1024)),
          .memory_limit = bytes(o, "memoryLimit", 1, 0),
          .host_memory = bytes(o, "hostMemory", 1, SIZE_MAX),
          .planning = boolean(o, "planOnly")};
}

Napi::Value list_devices(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Napi::Object holder = Napi::Object::New(env);
  PromiseQueue* queue = PromiseQueue::owned_by(env, holder);
  return queue->add(env, {.keep = holder}, [](const std::atomic<bool>&, const Progress&) -> Settle {
    return [devices = jobs::list_devices()](Napi::Env e) -> Napi::Value {
      Napi::Array list = Napi::Array::New(e, devices.size());
      for (std::uint32_t i = 0; i < devices.size(); ++i) {
        Napi::Object device = Napi::Object::New(e);
        device.Set("device", devices[i].device);
        device.Set("name", devices[i].name);
        device.Set("memory", static_cast<double>(devices[i].memory));
        device.Set("reason", devices[i].reason);
        list.Set(i, device);
      }
      return list;
    };
  });
}

}  // namespace cones::addon
